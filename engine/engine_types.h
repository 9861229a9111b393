/*
 * engine_types.h
 *	  What the host gives to the engine: settings and deliveries.
 */
#ifndef WEBHOOK_ENGINE_TYPES_H
#define WEBHOOK_ENGINE_TYPES_H

#include "types.h"

typedef struct WhEngine WhEngine;

typedef struct WhEngineConfig
{
	char instance[WH_INSTANCE_LEN + 1];
	int max_in_flight;   /* requests at once */
	int max_connections; /* open at once, those kept for the next requests included; at least max_in_flight */
	/* bytes; 0: the engine's own limits */
	size_t waiting_max;           /* of the events that wait */
	size_t flight_max;            /* of small requests in flight */
	size_t large_max;             /* of large ones */
	size_t batch_max;             /* of the events of one batch; a single one always fits */
	size_t body_max;              /* of a request's body */
	const char *ca_file;          /* NULL or "": the system's */
	const char *allowed_networks; /* special networks that are allowed, as a CIDR list */
	int64_t (*now_us)(void);      /* microseconds of a monotonic clock: for all waits */
	int64_t (*wall_us)(void);     /* since the Unix epoch, for people and receivers; NULL: now_us */
	double (*random)(void);       /* uniform in [0, 1) */
} WhEngineConfig;

/* A delivery, for wh_engine_submit. */
typedef struct WhSubmit
{
	WhEvent *event; /* the delivery takes a reference of its own */
	int64_t subscription_id;
	WhPushFrom from;
	uint64_t page;
	bool keep;     /* of one that is not from pending: defer it in any case */
	bool unjudged; /* see types.h */
	/* for those from pending: */
	uint64_t lane;
	int attempts;     /* the one about to be made included */
	int64_t first_us; /* 0: not tried yet */
	int64_t batch;    /* the event number of its lead; 0: sent by itself */
	bool more;        /* another one of this batch follows */
} WhSubmit;

/* Is the host ready to make a body for this subscription? */
typedef bool (*WhReady)(void *arg, int64_t subscription_id);

#endif /* WEBHOOK_ENGINE_TYPES_H */
