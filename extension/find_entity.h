/*
 * find_entity.h
 *	  Finding the requests of an entity in webhook.log.
 */
#ifndef WEBHOOK_FIND_ENTITY_H
#define WEBHOOK_FIND_ENTITY_H

/* Once per process, from the library's entry. */
extern void wh_find_entity_install(void);

#endif /* WEBHOOK_FIND_ENTITY_H */
