/*
 * template_internal.h
 *	  What the files of the template leaf share: the compiled form and variables.
 *
 *	template.c            compiling: collects text and ops
 *	template_parse.c      an envelope's JSON -> ops
 *	template_text.c       references, and texts with {name} -> ops
 *	template_render.c     runs the ops
 *	template_variables.c  the table of variables
 *
 * A compiled template is a flat list of ops over one pool of constant text.
 * Commas are constant wherever it is known at compile time that something
 * stands before; only behind members that may be left out does an op decide
 * (`comma`), by looking whether the last byte written opened the object.
 */
#ifndef WEBHOOK_TEMPLATE_INTERNAL_H
#define WEBHOOK_TEMPLATE_INTERNAL_H

#include "json_text.h"
#include "template.h"

#define WH_TEMPLATE_DEPTH 32 /* objects and arrays within each other */
#define WH_TERMS_MAX 4       /* alternatives of one reference */

/* ---- values ---- */

/* Always the same kind of scalar, or any JSON, which has members and may be spread. */
typedef enum WhShape
{
	WH_SHAPE_SCALAR,
	WH_SHAPE_JSON
} WhShape;

/* A getter that has to put a value together does so in `scratch`, which it empties first. */
typedef struct WhVariable
{
	const char *name;
	unsigned int kinds; /* 1 << WhTemplateKind */
	WhShape shape;
	WhValue (*get)(const WhTemplateValues *values, WhBuffer *scratch);
} WhVariable;

extern const WhVariable *wh_variable_find(const char *name, size_t len);

/* ---- the compiled form ---- */

/* Bytes of the pool. */
typedef struct WhPart
{
	unsigned int at;
	unsigned int len;
} WhPart;

/* One alternative of a reference: a variable, and where within its JSON. */
typedef struct WhTerm
{
	const WhVariable *variable;
	WhPart path; /* of the paths: names joined by dots; empty: the whole */
} WhTerm;

typedef enum WhConversion
{
	WH_AS_IT_IS,
	WH_TO_NUMBER,
	WH_TO_STRING,
	WH_TO_BOOL,
	WH_TO_PERCENT
} WhConversion;

typedef enum WhOpKind
{
	WH_OP_TEXT,   /* the text alone */
	WH_OP_VALUE,  /* the text, then a value */
	WH_OP_SPREAD, /* the text, then the members of a value that is an object */
	WH_OP_OPEN,   /* the text; here an object begins that is null when it holds no value */
	WH_OP_CLOSE   /* the text; there it ends */
} WhOpKind;

typedef struct WhOp
{
	WhOpKind kind;
	WhConversion conversion;
	bool comma;    /* a comma before the text, unless the object or array has just begun */
	bool optional; /* WH_OP_VALUE: nothing at all when the value is null */
	WhPart text;
	unsigned int terms; /* the first of them */
	unsigned int n_terms;
	unsigned int keys; /* WH_OP_SPREAD: keys of its object that are not to be taken, sorted */
	unsigned int n_keys;
} WhOp;

/* The buffers are used as arrays of what stands beside them. */
struct WhTemplate
{
	WhTemplateKind kind;
	WhBuffer pool;  /* text */
	WhBuffer ops;   /* WhOp */
	WhBuffer paths; /* text */
	WhBuffer terms; /* WhTerm */
	WhBuffer keys;  /* WhPart of the paths: as they stand in JSON, without quotes */
};

/* ---- compiling ---- */

typedef struct WhParser
{
	const char *start;
	const char *p;
	const char *end;
	WhTemplate *t;
	WhTemplateError *error;
	int depth;
	size_t pending;     /* where in the pool the text begins that no op has yet */
	bool pending_comma; /* and whether it needs a comma before it */
	WhBuffer keys;      /* WhText: keys of the objects that are open */
} WhParser;

/* A reference as parsed, not yet in an op. */
typedef struct WhReference
{
	WhConversion conversion;
	bool optional;
	bool all_json; /* no alternative is a scalar variable */
	unsigned int terms;
	unsigned int n_terms;
} WhReference;

/* Note an error. Always false, so that a parser can return it. */
extern bool wh_refuse(WhParser *ps, const char *at, const char *why, ...)
	__attribute__((format(printf, 3, 4)));

/* Constant text goes to the pool, and into the next op that is made. */
extern void wh_parser_text(WhParser *ps, const char *at, size_t len);
extern void wh_parser_op(WhParser *ps, WhOpKind kind, const WhReference *ref);
extern void wh_parser_flush(WhParser *ps);

/* Parse what stands between '$' or '{' and its end. */
extern bool wh_parse_reference(WhParser *ps, const char *at, const char *end, WhReference *ref);
extern bool wh_parse_text(WhParser *ps);
extern bool wh_parse_envelope(WhParser *ps);

#endif /* WEBHOOK_TEMPLATE_INTERNAL_H */
