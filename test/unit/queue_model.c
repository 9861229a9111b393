/*
 * queue_model.c
 *	  The model's engine and network: deliveries are pushed, started and ended
 *	  as engine.c does it, and looked at whenever one is started.
 *
 * The queue is compiled in, with limits of its own and to look into it.
 */
#include "queue_model.h"

#include "queue.c"
#include "queue_batch.c"
#include "queue_flight.c"
#include "queue_lists.c"
#include "queue_delayed.c"
#include "queue_room.c"

Model m;

unsigned
below(unsigned n)
{
	m.random ^= m.random << 13;
	m.random ^= m.random >> 7;
	m.random ^= m.random << 17;
	return (unsigned) (m.random >> 33) % n;
}

bool
percent(int n)
{
	return (int) below(100) < n;
}

uint64_t
lane_of(int s, int e)
{
	return s == STRICT_SUB ? 0 : (uint64_t) m.entity[e];
}

int
sub_of(const WhDelivery *d)
{
	return (int) d->subscription_id - 1;
}

int
event_of(const WhDelivery *d)
{
	return (int) d->event->id - 1;
}

void
take_back(WhList *list)
{
	WhDelivery *d;

	while ((d = wh_list_pop(list)) != NULL)
		wh_list_push(&m.outcomes, d);
}

static WhDelivery *
make(int s, int e, WhPushFrom from, int attempts, uint64_t page)
{
	WhDelivery *d = calloc(1, sizeof(WhDelivery));

	d->event = m.events[e];
	d->event->refs++;
	d->subscription_id = s + 1;
	d->lane = lane_of(s, e);
	d->stored = from == WH_FROM_STORED || from == WH_FROM_DEFERRED;
	d->attempts = d->stored ? attempts : 1;
	d->page = page;
	return d;
}

void
submit(int s, int e, WhPushFrom from, int attempts, uint64_t page)
{
	WhDelivery *d = make(s, e, from, attempts, page);

	switch (wh_queue_push(m.q, d, from, m.now_us))
	{
		case WH_PUSHED:
			return;
		case WH_PUSH_BEHIND:
			d->disposal = WH_DO_BLOCK;
			d->attempts--;
			break;
		case WH_PUSH_DEFER:
			d->disposal = WH_DO_DEFER;
			d->attempts -= from != WH_FROM_INTERRUPTED;
			break;
		default:
			fail_msg("seed %u: a push was refused", m.seed);
	}
	wh_list_push(&m.outcomes, d);
}

/* All rows of a batch, which are taken. */
void
submit_batch(int s, int lead)
{
	WhDelivery *first = NULL;

	for (int e = lead; e < m.written; e++)
		if (m.db.rows[s][e].batch == lead + 1)
		{
			WhDelivery *d = make(s, e, WH_FROM_STORED, m.db.rows[s][e].attempts, 0);

			check(m.db.rows[s][e].state == SENDING);
			d->batch = lead + 1;
			if (first == NULL)
				first = d;
			else
				wh_list_push(&first->others, d);
		}
	check(event_of(first) == lead);
	check(wh_queue_push(m.q, first, WH_FROM_STORED, m.now_us) == WH_PUSHED);
}

static uint64_t
hash_of(const WhDelivery *lead)
{
	uint64_t hash = 1;

	for (const WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
		hash = hash * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t) d->event->id;
	return hash;
}

static bool
is_in(const WhDelivery *lead, int e)
{
	for (const WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
		if (event_of(d) == e)
			return true;
	return false;
}

/* Of one that is started, alone or in a batch: may it be? */
static void
look_at_started(const WhDelivery *lead, const WhDelivery *d)
{
	int s = sub_of(d);
	int e = event_of(d);

	check(!m.done[s][e]);
	for (int earlier = 0; earlier < e; earlier++)
		if (lane_of(s, earlier) == d->lane && !m.done[s][earlier] && !is_in(lead, earlier))
			fail_msg("seed %u: subscription %d, event %d is started before %d has ended", m.seed, s, e,
					 earlier);
	for (int i = 0; i < m.n_flying; i++)
		for (const WhDelivery *other = m.n_in_flight[i]; other;
			 other = wh_batch_next(m.n_in_flight[i], other))
			check(other->subscription_id != d->subscription_id || (other->lane != d->lane && !m.held[s]));
	check(!m.db.exists[s] || (m.db.rows[s][e].state == SENDING) == d->stored);
}

static void
look_at_batch(const WhDelivery *lead)
{
	int s = sub_of(lead);
	bool waited = false;

	for (const WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
	{
		look_at_started(lead, d);
		check(d->batch == lead->batch);
		check(d == lead || d->event->id > lead->event->id);
		waited |= m.now_us >= d->queued_us + WH_BATCH_WAIT_US;
	}
	if (lead->kept)
	{
		check(lead->batch == lead->event->id);
		check(m.crashes || hash_of(lead) == m.batch_is[s][event_of(lead)]);
	}
	else
	{
		check(lead->others.n + 1 <= m.batch_size[s]);
		check(lead->others.n + 1 == m.batch_size[s] || waited || m.held[s]);
		check(lead->batch == (m.batch_size[s] > 1 ? lead->event->id : 0));
	}
	m.batches += lead->others.n > 0;
	m.kept += lead->others.n > 0 && lead->kept;
}

void
start_some(void)
{
	while (m.n_flying < IN_FLIGHT_MAX)
	{
		WhDelivery *d = wh_queue_next(m.q, m.now_us, IN_FLIGHT_MAX - m.n_flying);
		int s;

		if (d == NULL)
			return;
		s = sub_of(d);
		check(m.subscribed[s] && m.live[s]);
		check(!m.held[s] || m.admit[s]);
		look_at_batch(d);
		m.admit[s] = false;
		check(m.now_us >= m.not_before[s]);
		check(m.under_way[s] == 0 || m.under_way[s] < IN_FLIGHT_MAX - m.n_flying);
		m.under_way[s]++;
		if (s == LIMITED_SUB)
		{
			m.not_before[s] = m.now_us + RATE_INTERVAL;
			wh_queue_not_before(m.q, s + 1, m.not_before[s]);
		}
		d->probe = m.held[s];
		m.n_in_flight[m.n_flying++] = d;
	}
}

void
close_breaker(int s)
{
	m.held[s] = m.admit[s] = false;
	m.hurry[s] = true;
	wh_queue_release(m.q, s + 1);
}

/* What is left to be done about a batch that has ended as its lead says. */
static void
note_ended(WhDelivery *lead)
{
	int s = sub_of(lead);

	for (WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
	{
		int e = event_of(d);

		d->attempted = true;
		m.starts[s][e]++;
		check(m.crashes || d->attempts == m.starts[s][e]);
		if (lead->disposal == WH_DO_RETRY)
			continue;
		m.done[s][e] = true;
		m.ended_times[s][e]++;
	}
	m.batch_is[s][event_of(lead)] = hash_of(lead);
}

static void
list_all(WhDelivery *lead)
{
	WhList others = lead->others;

	lead->others = (WhList){0};
	for (WhDelivery *d = lead; d; d = wh_list_pop(&others))
		wh_list_push(&m.outcomes, d);
}

void
end_some(void)
{
	for (int i = m.n_flying - 1; i >= 0; i--)
	{
		WhDelivery *d = m.n_in_flight[i];
		int s = sub_of(d);
		WhList given_back = {0};

		if (!m.calm && !percent(m.end_percent[s]))
			continue;
		m.n_in_flight[i] = m.n_in_flight[--m.n_flying];
		m.under_way[s]--;
		if (m.calm || !percent(m.fail_percent[s]))
			d->disposal = WH_DO_DONE;
		else if (d->attempts >= 4 && percent(30))
			d->disposal = WH_DO_DEAD_LETTER;
		else
		{
			d->disposal = WH_DO_RETRY;
			d->due_us = m.now_us + 1 + below(20);
		}
		note_ended(d);
		wh_queue_done(m.q, d, &given_back);
		if (d->probe && m.held[s] && m.subscribed[s])
		{
			m.probed++;
			if (d->disposal != WH_DO_RETRY)
				close_breaker(s);
		}
		else if (d->disposal == WH_DO_RETRY && !m.held[s] && m.subscribed[s] && percent(10))
		{
			m.opened++;
			m.held[s] = true;
			m.hurry[s] = false;
			wh_queue_hold(m.q, s + 1, &given_back);
		}
		list_all(d);
		take_back(&given_back);
	}
}

void
stop_engine(void)
{
	WhList given_back = {0};

	memset(m.under_way, 0, sizeof(m.under_way));
	memset(m.not_before, 0, sizeof(m.not_before));
	while (m.n_flying > 0)
		wh_queue_abort(m.q, m.n_in_flight[--m.n_flying]);
	wh_queue_give_back_all(m.q, &given_back);
	take_back(&given_back);
	assert_int_equal(wh_queue_total(m.q), 0);
	wh_queue_free(m.q);
	m.q = NULL;
}

bool
has_room(void)
{
	WhList given_back = {0};
	bool room = wh_queue_has_room(m.q, m.now_us, &given_back);

	take_back(&given_back);
	return room;
}

void
compare_counts(void)
{
	for (int s = 0; s < SUBS; s++)
	{
		Sub *sub = wh_sub_find(m.q, s + 1);
		int deferred = 0;
		struct
		{
			int stored;
			int sending;
			int retry;
			int first; /* state of the first, sending or not */
			int batch; /* of the first */
		} lanes[ENTITIES] = {0};

		if (!m.subscribed[s] || !m.db.exists[s])
			continue;
		for (int e = 0; e < m.written; e++)
		{
			RowState state = m.db.rows[s][e].state;
			uint64_t key = lane_of(s, e);

			if (state == DEFERRED)
				deferred++;
			else if (state != NONE)
			{
				if (lanes[key].stored++ == 0)
				{
					lanes[key].first = state;
					lanes[key].batch = m.db.rows[s][e].batch;
				}
				lanes[key].sending += state == SENDING;
				lanes[key].retry += state == RETRY;
			}
		}
		check(sub->deferred == deferred);
		for (uint64_t key = 0; key < ENTITIES; key++)
		{
			Lane *lane = wh_lane_find(m.q, sub, key);

			check((lane ? lane->stored : 0) == lanes[key].stored);
			check((lane ? lane->held : 0) == lanes[key].sending);
			if (lanes[key].stored > 0 && lanes[key].sending == 0)
				check(is_linked(&lane->fetch) || (lanes[key].retry == 1 && lanes[key].first == RETRY) ||
					  (lanes[key].batch > 0 && m.db.rows[s][lanes[key].batch - 1].state == RETRY));
		}
	}
}
