/*
 * template.h
 *	  Templates of profiles: an event in a receiver's own shape.
 *
 * A profile's templates are compiled once and rendered for every attempt.
 * docs/profiles.md is the reference of the language. An envelope is JSON in which a
 * string "$name" stands for a variable's value. A text contains {name} and makes a
 * header. Whatever the template says, an envelope renders to JSON whose objects have no
 * duplicate keys (except inside a value), a header renders to text without control
 * characters, and no variable holds a secret.
 *
 * Rendering does not change a compiled template. All text is UTF-8. Values that are
 * JSON are valid JSON, as PostgreSQL's type json holds it.
 */
#ifndef WEBHOOK_TEMPLATE_H
#define WEBHOOK_TEMPLATE_H

#include "buffer.h"
#include "types.h"

#define WH_TEMPLATE_MAX 16384   /* bytes of a template's text */
#define WH_TEMPLATE_WHY_MAX 160 /* bytes of a reason, with its NUL */

typedef struct WhTemplate WhTemplate;

typedef enum WhTemplateKind
{
	WH_TEMPLATE_ENVELOPE, /* JSON: a request's body */
	WH_TEMPLATE_HEADER,   /* text: a header */
	WH_TEMPLATE_KINDS
} WhTemplateKind;

/* Why a template does not compile. */
typedef struct WhTemplateError
{
	size_t at;                     /* where, in bytes from the template's start */
	char why[WH_TEMPLATE_WHY_MAX]; /* lower case, no full stop; ASCII whatever the template holds */
	bool no_memory;                /* the template may be right */
} WhTemplateError;

/*
 * What variables take their values from. All of it belongs to the caller; what is NULL
 * is null in a template. Envelopes do not use `attempt` and `attempt_us`: a repeated
 * attempt has the same body.
 */
typedef struct WhTemplateValues
{
	const WhEvent *event;
	const char *instance;           /* WH_INSTANCE_LEN characters */
	const char *event_prefix;       /* the profile's, before event ids: "evt_" */
	const char *transaction_prefix; /* "tx_" */
	const char *params;             /* the subscription's, a JSON object */
	size_t params_len;
	int attempt; /* 1 for the first */
	int64_t attempt_us;
} WhTemplateValues;

typedef enum WhRendered
{
	WH_RENDERED,
	WH_RENDER_ABSENT, /* a text with {name?} whose value is null: leave the header out */
	WH_RENDER_FAILED  /* over the buffer's limit, or out of memory: the buffer is marked failed */
} WhRendered;

/* Compile `len` bytes. NULL: `error` says where and why. Freed with wh_template_free. */
extern WhTemplate *wh_template_compile(WhTemplateKind kind, const char *text, size_t len,
									   WhTemplateError *error);
extern void wh_template_free(WhTemplate *t);

/* Append to `out`. Unless it returns WH_RENDERED, `out` keeps its length. */
extern WhRendered wh_template_render(const WhTemplate *t, const WhTemplateValues *values, WhBuffer *out)
	__attribute__((warn_unused_result));

/*
 * The i-th variable's name, and the kinds of template that may use it (bits 1 << kind).
 * NULL: no more.
 */
extern const char *wh_template_variable(size_t i, unsigned int *kinds);

#endif /* WEBHOOK_TEMPLATE_H */
