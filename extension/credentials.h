/*
 * credentials.h
 *	  Is a credential of a subscription a good one?
 */
#ifndef WEBHOOK_CREDENTIALS_H
#define WEBHOOK_CREDENTIALS_H

/* An error, which quotes nothing of it, where there is no such kind, or it is a header that can be none. */
extern void wh_check_credential_kind(const char *kind);

#endif /* WEBHOOK_CREDENTIALS_H */
