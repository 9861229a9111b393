/*
 * filter.c
 *	  Running a subscription's filter, in bounded time and memory.
 *
 * Runs in a subtransaction. A filter is the server's own jsonpath, which checks for
 * interrupts at each step of a path, so a time limit (time_limit.c) ends most
 * filters that take too long. It does not check while it compares two sequences,
 * each value of one with each of the other: two arrays of 40,000 numbers are
 * 1,600,000,000 comparisons, half a minute in which nothing can end it except the
 * end of the process. So a filter that does that, on an event with enough values
 * for it to take long, is run apart: in a forked child that has nothing else to do
 * and that the kernel ends when it has used its processor time. Nobody else notices:
 * the postmaster does not know of it. That costs about a millisecond, other filters
 * a few microseconds.
 *
 * Everything else without checks for interrupts is bounded by the event: comparing
 * with a constant, multiplying two numbers of 100,000 digits.
 *
 * Owns the child while it runs.
 */
#include "postgres.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonpath.h"
#include "utils/memutils.h"

#include "compat.h"
#include "fault.h"
#include "filter.h"
#include "settings.h"
#include "store_subscriptions.h"
#include "tx_guard.h"
#include "time_limit.h"

#define COMPARISONS_MAX 1000000 /* without a check for interrupts: some 20 ms */
#define BYTES_PER_COMPARISON 16 /* of strings, compared in the time of one comparison */
#define TOO_LONG (-1)           /* not a status that a process can end with */
#define WAIT_MS 1000            /* a child is waited for this long, plus so many times the limit */
#define WAIT_TIMES 10

/*
 * What a filter is made of
 */

static void look(JsonPathItem *item, WhFilterShape *shape);

/* May it be more than one value? Literals and results of arithmetic are one. */
static bool
is_sequence(JsonPathItem *item)
{
	JsonPathItem arg;

	switch (item->type)
	{
		case jpiNull:
		case jpiString:
		case jpiNumeric:
		case jpiBool:
		case jpiVariable:
		case jpiAdd:
		case jpiSub:
		case jpiMul:
		case jpiDiv:
		case jpiMod:
			return false;
		case jpiPlus:
		case jpiMinus:
			jspGetArg(item, &arg);
			return is_sequence(&arg);
		default:
			return true;
	}
}

static void
look_at_both(JsonPathItem *item, WhFilterShape *shape, bool compares)
{
	JsonPathItem left;
	JsonPathItem right;

	jspGetLeftArg(item, &left);
	jspGetRightArg(item, &right);
	if (compares && is_sequence(&left) && is_sequence(&right))
		shape->pairs = true;
	look(&left, shape);
	look(&right, shape);
}

static void
look_at_subscripts(JsonPathItem *item, WhFilterShape *shape)
{
	if (item->content.array.nelems > 1)
		shape->repeats = true;
	for (int i = 0; i < item->content.array.nelems; i++)
	{
		JsonPathItem from;
		JsonPathItem to;

		if (jspGetArraySubscript(item, &from, &to, i))
			look(&to, shape);
		look(&from, shape);
	}
}

static void
look(JsonPathItem *item, WhFilterShape *shape)
{
	JsonPathItem next;
	int n_any = 0; /* ** in one path: with two of them a value is found many times */

	check_stack_depth();
	for (;;)
	{
		switch (item->type)
		{
			case jpiAnd:
			case jpiOr:
			case jpiStartsWith:
			case jpiAdd:
			case jpiSub:
			case jpiMul:
			case jpiDiv:
			case jpiMod:
				look_at_both(item, shape, false);
				break;
			case jpiEqual:
			case jpiNotEqual:
			case jpiLess:
			case jpiGreater:
			case jpiLessOrEqual:
			case jpiGreaterOrEqual:
				look_at_both(item, shape, true);
				break;
			case jpiNot:
			case jpiIsUnknown:
			case jpiPlus:
			case jpiMinus:
			case jpiExists:
			case jpiFilter:
				jspGetArg(item, &next);
				look(&next, shape);
				break;
			case jpiLikeRegex:
				jspInitByBuffer(&next, item->base, item->content.like_regex.expr);
				look(&next, shape);
				break;
			case jpiIndexArray:
				look_at_subscripts(item, shape);
				break;
			case jpiAny:
				shape->repeats = shape->repeats || ++n_any > 1;
				break;
			default:
				break;
		}
		if (!jspGetNext(item, &next))
			return;
		*item = next;
	}
}

WhFilterShape
wh_filter_shape(struct varlena *filter)
{
	WhFilterShape shape = {0};
	JsonPathItem root;

	jspInit(&root, (JsonPath *) filter);
	look(&root, &shape);
	return shape;
}

/*
 * Running it
 */

static bool
match(struct varlena *filter, const Jsonb *event)
{
	LOCAL_FCINFO(call, 4);
	Datum vars = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	Datum result;

	InitFunctionCallInfoData(*call, NULL, 4, InvalidOid, NULL, NULL);
	call->args[0] = (NullableDatum){.value = JsonbPGetDatum(event)};
	call->args[1] = (NullableDatum){.value = PointerGetDatum(filter)};
	call->args[2] = (NullableDatum){.value = vars};
	call->args[3] = (NullableDatum){.value = BoolGetDatum(true)};
	result = jsonb_path_match(call);
	return !call->isnull && DatumGetBool(result);
}

wh_noreturn static void
took_too_long(void)
{
	ereport(ERROR, errcode(WH_TIME_EXCEEDED), errmsg("it took more than %d ms", wh_filter_timeout));
	pg_unreachable();
}

/* With this event's values, may it compare more than can be waited for? */
static bool
is_long(WhFilterShape shape, const Jsonb *event)
{
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	size_t most = VARSIZE(event) / BYTES_PER_COMPARISON;
	size_t n = 0;

	if (!shape.pairs)
		return false;
	if (shape.repeats)
		return true;
	it = JsonbIteratorInit(unconstify(JsonbContainer *, &event->root));
	while (n * (n + most) <= COMPARISONS_MAX && (token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
		n += token == WJB_VALUE || token == WJB_ELEM || token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT;
	return n * (n + most) > COMPARISONS_MAX;
}

/*
 * The child
 */

/* What the child answers: true, false, or an error. */
typedef struct Answer
{
	char what; /* 't', 'f', 'e' */
	int code;
	char message[200];
} Answer;

/* Forked from a process with threads, locks and a latch: it evaluates, answers and exits. */
wh_noreturn static void
be_the_child(int fd, pid_t parent, struct varlena *filter, const Jsonb *event)
{
	static const int signals[] = {SIGTERM, SIGINT,  SIGALRM, SIGHUP, SIGUSR1,
								  SIGUSR2, SIGQUIT, SIGCHLD, SIGPROF};
	/* SIGPROF ends it when it has used this much processor time */
	struct itimerval cpu = {.it_value = {wh_filter_timeout / 1000, wh_filter_timeout % 1000 * 1000}};
	Answer answer = {.what = 'f'};

	for (int i = 0; i < (int) lengthof(signals); i++)
		signal(signals[i], SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setitimer(ITIMER_PROF, &cpu, NULL);
	if (getppid() != parent)
		_exit(1);
	/* the worker's exit callbacks are not for this process */
	on_exit_reset();
	ExitOnAnyError = false;
	InterruptPending = QueryCancelPending = ProcDiePending = false;
	PG_TRY();
	{
		answer.what = match(filter, event) ? 't' : 'f';
	}
	PG_CATCH();
	{
		answer.what = 'e';
		answer.code = geterrcode();
		MemoryContextSwitchTo(ErrorContext);
		strlcpy(answer.message, CopyErrorData()->message, sizeof(answer.message));
	}
	PG_END_TRY();
	if (write(fd, &answer, sizeof(answer)) != sizeof(answer))
		_exit(1);
	_exit(0);
}

/* Milliseconds left to wait for it: generous, because the machine may be busy. */
static int
left(const instr_time *began)
{
	instr_time now;
	int most = WAIT_MS + WAIT_TIMES * wh_filter_timeout;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, *began);
	return Max(0, most - (int) Min(INT_MAX / 2, INSTR_TIME_GET_MILLISEC(now)));
}

/* Wait for its answer, until its time is over or the worker must stop. It is gone afterwards in any case. */
static bool
wait_for_child(pid_t pid, int fd, Answer *answer, int *status)
{
	instr_time began;
	bool answered = false;
	bool in_time;
	int ms;

	INSTR_TIME_SET_CURRENT(began);
	while (!answered && !ShutdownRequestPending && !QueryCancelPending && (ms = left(&began)) > 0)
	{
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (poll(&p, 1, ms) > 0)
		{
			ssize_t n = read(fd, answer, sizeof(*answer));

			if (n < 0 && errno == EINTR)
				continue;
			answered = n == sizeof(*answer);
			break;
		}
	}
	in_time = left(&began) > 0;
	kill(pid, SIGKILL);
	close(fd);
	while (waitpid(pid, status, 0) < 0 && errno == EINTR)
		;
	if (!answered && (!in_time || (WIFSIGNALED(*status) && WTERMSIG(*status) == SIGPROF)))
		*status = TOO_LONG;
	return answered;
}

static bool
match_apart(struct varlena *filter, const Jsonb *event)
{
	Answer answer;
	pid_t parent = getpid();
	pid_t pid;
	int status;
	int fds[2];

	if (pipe(fds) != 0)
		ereport(ERROR, errcode_for_file_access(), errmsg("could not make a pipe: %m"));
	pid = fork();
	if (pid == 0)
	{
		close(fds[0]);
		be_the_child(fds[1], parent, filter, event);
	}
	close(fds[1]);
	if (pid < 0)
	{
		close(fds[0]);
		ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_RESOURCES), errmsg("could not fork: %m"));
	}
	if (!wait_for_child(pid, fds[0], &answer, &status))
	{
		CHECK_FOR_INTERRUPTS();
		if (status == TOO_LONG)
			took_too_long();
		ereport(ERROR, errcode(ERRCODE_INTERNAL_ERROR),
				errmsg("the process that evaluated it ended with status %d", status));
	}
	if (answer.what == 'e')
		ereport(ERROR, errcode(answer.code), errmsg("%s", answer.message));
	return answer.what == 't';
}

bool
wh_filter_is_true(struct varlena *filter, WhFilterShape shape, const Jsonb *event)
{
	bool is_true;

	WH_FAULT("filter");
	if (is_long(shape, event))
		return match_apart(filter, event);
	wh_time_limit_begin_cpu(wh_filter_timeout);
	is_true = match(filter, event);
	if (wh_time_limit_end())
		took_too_long();
	return is_true;
}
