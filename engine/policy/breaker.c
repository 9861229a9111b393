/*
 * breaker.c
 *	  Is the endpoint of a subscription worth trying?
 *
 *			  failures in a row              probe due
 *	  CLOSED ------------------->  OPEN  ---------------->  HALF-OPEN
 *		^  ^---- reset ----------	|  ^--- probe failed ----  |   |
 *		|					 (or came to nothing)		reset  |   |
 *		'-------------- probe answered ------------------------'---'
 *
 * Owns nothing, keeps nothing outside the struct, and reads no clock.
 */
#include "breaker.h"

#include <assert.h>

#define JITTER 0.1 /* to both sides, so that endpoints of one host are not probed in step */

/* from, to */
static const bool legal[][3] = {
	/*                         closed open   half-open */
	[WH_BREAKER_CLOSED] = {false, true, false},
	[WH_BREAKER_OPEN] = {true, false, true},
	[WH_BREAKER_HALF_OPEN] = {true, true, false},
};

static void
breaker_sane(const WhBreaker *b)
{
	assert(b->failures >= 0 && b->failures < WH_BREAKER_FAILURES);
	assert(b->state == WH_BREAKER_CLOSED || b->failures == 0);
	assert(b->state != WH_BREAKER_CLOSED || b->probes == 0);
	assert((b->state == WH_BREAKER_OPEN) == (b->probe_at_us != 0));
	(void) b;
}

/* Only this function changes the state. */
static void
move(WhBreaker *b, WhBreakerState to, int64_t probe_at_us)
{
	assert(legal[b->state][to]);
	b->state = to;
	b->failures = 0;
	b->probe_at_us = probe_at_us;
	if (to != WH_BREAKER_OPEN)
		b->asked_at_us = 0;
	if (to == WH_BREAKER_CLOSED)
		b->probes = 0;
	breaker_sane(b);
}

/*
 * Each failure may ask for time. What one asks for must not be cut short because
 * another opened the breaker.
 */
static void
note_asked(WhBreaker *b, int64_t now_us, int64_t asked_us)
{
	if (asked_us > WH_BREAKER_ASKED_MAX_US)
		asked_us = WH_BREAKER_ASKED_MAX_US;
	if (asked_us > 0 && now_us + asked_us > b->asked_at_us)
		b->asked_at_us = now_us + asked_us;
}

static void
open(WhBreaker *b, int64_t now_us, double rand)
{
	int64_t wait = WH_BREAKER_WAIT_US;

	for (int i = 0; i < b->probes && wait < WH_BREAKER_WAIT_MAX_US; i++)
		wait *= 2;
	if (wait > WH_BREAKER_WAIT_MAX_US)
		wait = WH_BREAKER_WAIT_MAX_US;
	wait = (int64_t) ((double) wait * (1.0 - JITTER + 2.0 * JITTER * rand));
	move(b, WH_BREAKER_OPEN, b->asked_at_us > now_us + wait ? b->asked_at_us : now_us + wait);
}

bool
wh_breaker_ended(WhBreaker *b, WhClass class, bool probe, int64_t now_us, int64_t asked_us, double rand)
{
	if (class == WH_CLASS_ABORTED)
		return false;
	switch (b->state)
	{
		case WH_BREAKER_CLOSED:
			if (class != WH_CLASS_ENDPOINT)
			{
				b->failures = 0;
				b->asked_at_us = 0;
				return false;
			}
			note_asked(b, now_us, asked_us);
			if (++b->failures < WH_BREAKER_FAILURES)
				return false;
			open(b, now_us, rand);
			return true;
		case WH_BREAKER_HALF_OPEN:
			if (!probe)
				return false;
			if (class == WH_CLASS_ENDPOINT)
			{
				b->probes++;
				note_asked(b, now_us, asked_us);
				open(b, now_us, rand);
			}
			else
				move(b, WH_BREAKER_CLOSED, 0);
			return true;
		case WH_BREAKER_OPEN:
			if (class == WH_CLASS_ENDPOINT)
				note_asked(b, now_us, asked_us);
			if (b->probe_at_us < b->asked_at_us)
				b->probe_at_us = b->asked_at_us;
			break;
	}
	return false;
}

bool
wh_breaker_probe_due(const WhBreaker *b, int64_t now_us)
{
	return b->state == WH_BREAKER_OPEN && b->probe_at_us <= now_us;
}

void
wh_breaker_probe(WhBreaker *b)
{
	move(b, WH_BREAKER_HALF_OPEN, 0);
}

void
wh_breaker_probe_unsent(WhBreaker *b, int64_t now_us)
{
	move(b, WH_BREAKER_OPEN, now_us);
}

bool
wh_breaker_reset(WhBreaker *b)
{
	b->failures = 0;
	b->asked_at_us = 0;
	if (b->state == WH_BREAKER_CLOSED)
		return false;
	move(b, WH_BREAKER_CLOSED, 0);
	return true;
}
