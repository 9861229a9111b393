/*
 * fault.h
 *	  Points at which a test may make the worker die.
 *
 * Each names the moment just before or after something that must not be torn
 * apart. They are compiled only for the tests in test/fault (make FAULTS=1). The
 * library that people install has none of them.
 */
#ifndef WEBHOOK_FAULT_H
#define WEBHOOK_FAULT_H

#ifdef WEBHOOK_FAULTS
extern void wh_fault(const char *point);
#define WH_FAULT(point) wh_fault(point)
#else
#define WH_FAULT(point) ((void) 0)
#endif

#endif /* WEBHOOK_FAULT_H */
