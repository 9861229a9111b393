/*
 * profile_unit.h
 *	  The profile that tests of the engine use where it is not what they are
 *	  about: `entity`. That it is the one built in is seen to by
 *	  test_template_profiles.c.
 */
#ifndef PROFILE_UNIT_H
#define PROFILE_UNIT_H

#include "types.h"

#define ENTITY_MEMBERS                                                                                       \
	"\"entity_id\": \"$entity_id\", \"entity_type\": \"$entity_type\", \"action_type\": \"$action_type\", "  \
	"\"result\": \"$result?\"}"

static const WhProfile profile_entity = {.name = "entity",
										 .envelope = "{" ENTITY_MEMBERS,
										 .batch_envelope = "{\"event_id\": \"$id\", " ENTITY_MEMBERS,
										 .content_type = "application/json",
										 .id_header = "webhook-id",
										 .timestamp_header = "webhook-timestamp",
										 .event_prefix = "evt_",
										 .transaction_prefix = "tx_",
										 .algorithm = "hmac-sha256",
										 .encoding = "base64",
										 .secret_encoding = "whsec",
										 .signed_content = "{id}.{timestamp}.{body}",
										 .signature_header = "webhook-signature",
										 .signature_format = "v1,{signature}",
										 .separator = " "};

#endif /* PROFILE_UNIT_H */
