/*
 * find_event.h
 *	  Event ids, and finding rows by them.
 */
#ifndef WEBHOOK_FIND_EVENT_H
#define WEBHOOK_FIND_EVENT_H

/* From now on the planner of this process finds rows by webhook.event_id(). */
extern void wh_find_event_install(void);

#endif /* WEBHOOK_FIND_EVENT_H */
