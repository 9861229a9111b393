/*
 * template_internal.h
 *	  What the files of templates share: the compiled form, and variables.
 *
 *	template.c            compiling: collects text and ops
 *	template_parse.c      an envelope's JSON -> ops
 *	template_text.c       references, and texts with {name} -> ops
 *	template_render.c     runs the ops
 *	template_variables.c  the table of variables
 *
 * A compiled template is a flat list of ops over one pool of constant text. A comma is
 * constant text if compiling knows that something comes before it. After members that
 * may be left out, an op decides (`comma`): it looks whether the last byte written
 * opened the object.
 */
#ifndef WEBHOOK_TEMPLATE_INTERNAL_H
#define WEBHOOK_TEMPLATE_INTERNAL_H

#include "json_text.h"
#include "template.h"

#define WH_TEMPLATE_DEPTH 32 /* objects and arrays within each other */
#define WH_TERMS_MAX 4       /* alternatives of one reference */

/* ---- values ---- */

/* A variable is always a scalar of one kind, or any JSON, which has members and may be spread. */
typedef enum WhShape
{
	WH_SHAPE_SCALAR,
	WH_SHAPE_JSON
} WhShape;

/* A getter that must compose a value empties `scratch` and composes it there. */
typedef struct WhVariable
{
	const char *name;
	unsigned int kinds; /* 1 << WhTemplateKind */
	WhShape shape;
	WhValue (*get)(const WhTemplateValues *values, WhBuffer *scratch);
} WhVariable;

extern const WhVariable *wh_variable_find(const char *name, size_t len);

/* ---- the compiled form ---- */

/* A range of bytes in the pool. */
typedef struct WhPart
{
	unsigned int at;
	unsigned int len;
} WhPart;

/* One alternative of a reference: a variable, and a path into its JSON. */
typedef struct WhTerm
{
	const WhVariable *variable;
	WhPart path; /* in `paths`: names joined by dots; empty: the whole value */
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
	WH_OP_OPEN,   /* the text; an object begins here that becomes null if it holds no value */
	WH_OP_CLOSE   /* the text; that object ends here */
} WhOpKind;

typedef struct WhOp
{
	WhOpKind kind;
	WhConversion conversion;
	bool comma;    /* a comma before the text, unless the object or array has just begun */
	bool optional; /* WH_OP_VALUE: write nothing at all if the value is null */
	WhPart text;
	unsigned int terms; /* the first of them */
	unsigned int n_terms;
	unsigned int keys; /* WH_OP_SPREAD: keys of the value to leave out, sorted */
	unsigned int n_keys;
} WhOp;

/* Each buffer is an array of the type that its comment names. */
struct WhTemplate
{
	WhTemplateKind kind;
	WhBuffer pool;  /* text */
	WhBuffer ops;   /* WhOp */
	WhBuffer paths; /* text */
	WhBuffer terms; /* WhTerm */
	WhBuffer keys;  /* WhPart in `paths`: keys as JSON writes them, without quotes */
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
	size_t pending;     /* where in the pool the text begins that no op has taken yet */
	bool pending_comma; /* does that text need a comma before it? */
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

/* Note an error. Always returns false, so that a parser can return that. */
extern bool wh_refuse(WhParser *ps, const char *at, const char *why, ...)
	__attribute__((format(printf, 3, 4)));

/* Constant text goes to the pool, and the next op takes it. flush: make an op for it now. */
extern void wh_parser_text(WhParser *ps, const char *at, size_t len);
extern void wh_parser_op(WhParser *ps, WhOpKind kind, const WhReference *ref);
extern void wh_parser_flush(WhParser *ps);

/* Parse the text between '$' or '{' and its end. */
extern bool wh_parse_reference(WhParser *ps, const char *at, const char *end, WhReference *ref);
extern bool wh_parse_text(WhParser *ps);
extern bool wh_parse_envelope(WhParser *ps);

#endif /* WEBHOOK_TEMPLATE_INTERNAL_H */
