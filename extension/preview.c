/*
 * preview.c
 *	  The request that an event would become, for people who look before they save.
 *
 * Runs in users' backends. It calls the parts of the engine that make bodies, headers and
 * signatures for the worker (template.h, sign.h), in the same order as engine/request.c.
 * No secret of anybody's is read: the signature is made with a random one that is
 * forgotten. Keeps nothing between calls.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/string.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "sign.h"
#include "template.h"
#include "verify.h"

PG_FUNCTION_INFO_V1(webhook_render_request);

#define BODY_MAX (8 * 1024 * 1024)
#define HEADER_MAX 8192
#define UNIX_EPOCH_US ((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

static char *
utf8_of(Datum datum)
{
	char *string = TextDatumGetCString(datum);

	return pg_is_ascii(string) ? string : pg_server_to_any(string, strlen(string), PG_UTF8);
}

/* A column of a row, in UTF-8; NULL: it is null. */
static char *
column(HeapTupleHeader row, const char *name)
{
	bool isnull;
	Datum value = GetAttributeByName(row, name, &isnull);

	return isnull ? NULL : utf8_of(value);
}

/* The event, as the engine has it. It points into palloc'd text. */
static void
read_event(HeapTupleHeader row, WhEvent *event)
{
	bool isnull;
	Datum created = GetAttributeByName(row, "created_at", &isnull);

	memset(event, 0, sizeof(*event));
	event->created_us = isnull ? 0 : DatumGetTimestampTz(created) + UNIX_EPOCH_US;
	event->id = DatumGetInt64(GetAttributeByName(row, "event_number", &isnull));
	event->entity_id = column(row, "entity_id");
	event->entity_type = column(row, "entity_type");
	event->action_type = column(row, "action_type");
	event->result = column(row, "result");
	event->result_len = event->result ? strlen(event->result) : 0;
	event->previous = column(row, "previous");
	event->previous_len = event->previous ? strlen(event->previous) : 0;
	event->tenant = column(row, "tenant");
	event->context = column(row, "context");
}

/* Render a template, palloc'd; NULL: it is a header that is left out. */
static char *
render(WhTemplateKind kind, const char *text, const WhTemplateValues *values, size_t limit)
{
	WhTemplateError error;
	WhTemplate *template = wh_template_compile(kind, text, strlen(text), &error);
	WhRendered rendered = WH_RENDER_FAILED;
	WhBuffer out;
	char *made = NULL;

	/* between making and freeing them, nothing may raise an error */
	wh_buffer_init(&out, limit);
	if (template)
		rendered = wh_template_render(template, values, &out);
	if (rendered == WH_RENDERED)
		made = MemoryContextAllocExtended(CurrentMemoryContext, out.len + 1, MCXT_ALLOC_NO_OOM);
	if (made)
	{
		memcpy(made, out.data ? out.data : "", out.len);
		made[out.len] = '\0';
	}
	wh_template_free(template);
	wh_buffer_free(&out);
	if (made == NULL && rendered != WH_RENDER_ABSENT)
		ereport(ERROR, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("the request could not be made"),
				errdetail("A body of at most %d bytes and headers of at most %d can be shown.", BODY_MAX,
						  HEADER_MAX),
				errhint("Choose a smaller row."));
	return made;
}

/* A signature like those that are sent, by a secret that nobody has; "": the profile does not sign. */
static void
sign(const WhSigning *signing, const WhMessage *message, char out[WH_SIGNATURE_MAX])
{
	unsigned char bytes[WH_ED25519_SEED_LEN];
	char secret[WH_SECRET_TEXT_MAX];
	const char *why;
	WhKey key;
	const WhKey *keys[] = {&key};
	bool made;

	out[0] = '\0';
	if (signing->algorithm == WH_ALGORITHM_NONE)
		return;
	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR, errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random bytes"));
	made = (signing->algorithm == WH_ALGORITHM_ED25519
				? wh_secret_encode_ed25519(bytes, secret, sizeof(secret))
				: wh_secret_encode(bytes, sizeof(bytes), secret, sizeof(secret))) &&
		   wh_secret_decode(signing, secret, &key, &why) &&
		   wh_sign(signing, keys, 1, message, out, WH_SIGNATURE_MAX);
	wh_key_wipe(&key);
	if (!made)
		ereport(ERROR, errcode(ERRCODE_INTERNAL_ERROR), errmsg("the request could not be signed"));
}

static void
add(ArrayBuildState **list, char *line)
{
	char *text = pg_is_ascii(line) ? line : pg_any_to_server(line, strlen(line), PG_UTF8);

	*list = accumArrayResult(*list, CStringGetTextDatum(text), false, TEXTOID, CurrentMemoryContext);
}

static void
add_header(ArrayBuildState **list, const char *name, const char *value)
{
	if (name && value && *value)
		add(list, psprintf("%s: %s", name, value));
}

/*
 * webhook_internal.render_request(profile, header templates, event, instance, params): the
 * body, and then the headers, a line each.
 */
Datum
webhook_render_request(PG_FUNCTION_ARGS)
{
	HeapTupleHeader profile = PG_GETARG_HEAPTUPLEHEADER(0);
	char *instance = utf8_of(PG_GETARG_DATUM(3));
	char *params = utf8_of(PG_GETARG_DATUM(4));
	int64 now_us = GetCurrentTimestamp() + UNIX_EPOCH_US;
	WhSigning signing = wh_profile_signing(profile);
	char signature[WH_SIGNATURE_MAX];
	ArrayBuildState *list = NULL;
	WhTemplateValues values = {0};
	WhMessage message = {0};
	WhEvent event;
	Datum *lines;
	int n_lines;

	read_event(PG_GETARG_HEAPTUPLEHEADER(2), &event);
	values.event = &event;
	values.instance = instance;
	values.event_prefix = column(profile, "event_prefix");
	values.transaction_prefix = column(profile, "transaction_prefix");
	values.params = params;
	values.params_len = strlen(params);
	values.attempt = 1;
	values.attempt_us = now_us;
	message.id = psprintf("%s%s_" INT64_FORMAT, values.event_prefix, instance, event.id);
	message.timestamp = now_us / USECS_PER_SEC;
	message.body = render(WH_TEMPLATE_ENVELOPE, column(profile, "envelope"), &values, BODY_MAX);
	message.body_len = strlen(message.body);
	sign(&signing, &message, signature);

	add(&list, unconstify(char *, message.body));
	add_header(&list, "Content-Type", column(profile, "content_type"));
	add_header(&list, column(profile, "id_header"), message.id);
	add_header(&list, column(profile, "timestamp_header"), psprintf(INT64_FORMAT, message.timestamp));
	add_header(&list, column(profile, "signature_header"), signature);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &lines, NULL, &n_lines);
	for (int i = 0; i < n_lines; i++)
	{
		char *line = render(WH_TEMPLATE_HEADER, utf8_of(lines[i]), &values, HEADER_MAX);

		if (line)
			add(&list, line);
	}
	PG_RETURN_DATUM(makeArrayResult(list, CurrentMemoryContext));
}
