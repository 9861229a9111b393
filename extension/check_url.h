/*
 * check_url.h
 *	  May this URL be sent to? In api.c, for the other files that are given one.
 */
#ifndef WEBHOOK_CHECK_URL_H
#define WEBHOOK_CHECK_URL_H

/* An error, which quotes nothing of it, where an endpoint's URL may not be used. */
extern void wh_check_url(const char *url);

#endif /* WEBHOOK_CHECK_URL_H */
