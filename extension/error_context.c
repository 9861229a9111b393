/*
 * error_context.c
 *	  Errors of ours are shown without a CONTEXT of ours.
 *
 * Much of what people call is PL/pgSQL that calls PL/pgSQL. For each function in
 * between, the server adds two lines to an error: the function, and beneath it
 * the statement that called the next one. They say nothing to whoever got the
 * URL wrong, and bury the message, its detail and its hint.
 *
 * A context is made when an error is raised, by callbacks that cannot tell
 * whose frames they describe. So it is put right where the error is reported, to
 * the log and to the client: lines of functions in our schemas go, and with each
 * the statement it was at. All other lines stay, within ours and around them:
 * those of an event trigger that webhook.watch() fires, those of the function
 * that called webhook.subscribe(). The formats are the server's, in its
 * language; where a translation begins a line with something else, it stays.
 *
 * In sessions only: what the worker logs of itself is for who looks for a bug.
 * client_min_messages = debug1 shows everything.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/elog.h"
#include "utils/guc.h"

#include "error_context.h"

static emit_log_hook_type previous_hook = NULL;

/* Does a line begin as a format does, up to its first %? */
static bool
begins_as(const char *line, const char *format)
{
	size_t length = strcspn(format, "%");

	return length > 0 && strncmp(line, format, length) == 0;
}

static bool
is_function_of_ours(const char *line)
{
	const char *format = dgettext(PG_TEXTDOMAIN("plpgsql"), "PL/pgSQL function %s line %d at %s");
	const char *signature;

	if (!begins_as(line, format))
		return false;
	signature = line + strcspn(format, "%");
	return strncmp(signature, "webhook.", 8) == 0 || strncmp(signature, "webhook_internal.", 17) == 0;
}

/* Statements are told of by SPI, which PL/pgSQL runs them by. */
static bool
is_statement(const char *line)
{
	return begins_as(line, _("SQL statement \"%s\"")) || begins_as(line, _("SQL expression \"%s\"")) ||
		   begins_as(line, _("PL/pgSQL assignment \"%s\""));
}

/*
 * Frames are told from the inside out: a statement, which may have many lines
 * and ends with a quote, comes right before the function that it is in.
 */
void
wh_error_context_strip(char *context)
{
	char *kept = context;     /* end of what stays */
	char *statement = NULL;   /* where the statement right before this line begins */
	bool is_complete = false; /* its last line was seen */
	char *line = context;

	while (*line)
	{
		size_t length = strcspn(line, "\n");
		bool is_last = line[length] == '\0';
		char *next = line + length + (is_last ? 0 : 1);

		if (is_function_of_ours(line))
		{
			if (statement && is_complete)
				kept = statement;
			statement = NULL;
			line = next;
			continue;
		}
		if (is_statement(line))
		{
			statement = kept;
			is_complete = false;
		}
		else if (is_complete)
			statement = NULL;
		if (statement && length > 0 && line[length - 1] == '"')
			is_complete = true;
		memmove(kept, line, (size_t) (next - line));
		kept += next - line;
		line = next;
	}
	if (kept > context && kept[-1] == '\n')
		kept--;
	*kept = '\0';
}

static void
strip_context(ErrorData *edata)
{
	if (edata->context && MyBackendType == B_BACKEND && client_min_messages > DEBUG1 &&
		strstr(edata->context, "webhook"))
	{
		wh_error_context_strip(edata->context);
		if (edata->context[0] == '\0')
			edata->context = NULL;
	}
	if (previous_hook)
		previous_hook(edata);
}

void
wh_error_context_install(void)
{
	previous_hook = emit_log_hook;
	emit_log_hook = strip_context;
}
