/*
 * error_context.c
 *	  Our errors are shown without our functions in their CONTEXT.
 *
 * Much of what people call is PL/pgSQL that calls PL/pgSQL. For each function in
 * between, the server adds two lines to an error: the function, and the statement that
 * called the next one. They tell nothing to somebody who got a URL wrong, and they bury
 * the message, its detail and its hint.
 *
 * A context is made when an error is raised, by callbacks that do not know whose frames
 * they describe. So it is corrected when the error is reported, to the log and to the
 * client. The lines of functions in our schemas are removed, each with the statement
 * that it was at. All other lines stay, also between ours: those of an event trigger
 * that webhook.watch() fires, and those of the function that called webhook.subscribe().
 * The formats are the server's, in its language. If a translation begins a line with a
 * parameter, the line stays.
 *
 * This is done in sessions only: what the worker logs about itself is for people who
 * look for a bug. client_min_messages = debug1 shows everything. Keeps nothing.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/elog.h"
#include "utils/guc.h"

#include "error_context.h"

static emit_log_hook_type previous_hook = NULL;

/* Does the line begin like the format, up to the format's first %? */
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

/* SPI, which PL/pgSQL runs statements with, writes these lines. */
static bool
is_statement(const char *line)
{
	return begins_as(line, _("SQL statement \"%s\"")) || begins_as(line, _("SQL expression \"%s\"")) ||
		   begins_as(line, _("PL/pgSQL assignment \"%s\""));
}

/*
 * Frames come from the inside out. A statement, which may have many lines and ends with
 * a quote, comes right before the function that contains it.
 */
void
wh_error_context_strip(char *context)
{
	char *kept = context;     /* the end of what stays */
	char *statement = NULL;   /* the start of the statement right before this line */
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
