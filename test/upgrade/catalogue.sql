-- Everything that the extension has made in this database, in lines of JSON: kind, name, property, value.
-- Two databases with the same lines have the same extension, whichever way it came there. Rows that people
-- make are not in it; built-in profiles are.
SET search_path = pg_catalog;
WITH member AS (
	SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	WHERE e.extname = 'webhook' AND d.deptype = 'e'
), relation AS (
	SELECT c.*, c.oid::regclass::text AS name FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
), indexes AS (
	SELECT i.*, i.indexrelid::regclass::text AS name FROM pg_index i WHERE i.indrelid IN (SELECT oid FROM relation)
), function AS (
	SELECT p.*, p.oid::regprocedure::text AS name FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
), object AS ( -- what may have a comment
	SELECT m.classid, m.objid FROM member m
	UNION ALL SELECT 'pg_class'::regclass, i.indexrelid FROM indexes i
	UNION ALL SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger t WHERE t.tgrelid IN (SELECT oid FROM relation)
	UNION ALL SELECT 'pg_constraint'::regclass, k.oid FROM pg_constraint k WHERE k.conrelid IN (SELECT oid FROM relation)
	UNION ALL SELECT 'pg_policy'::regclass, p.oid FROM pg_policy p WHERE p.polrelid IN (SELECT oid FROM relation)
), line(kind, name, property, value) AS (
	SELECT 'member', (pg_identify_object(m.classid, m.objid, 0)).identity, (pg_identify_object(m.classid, m.objid, 0)).type, NULL::jsonb FROM member m
	UNION ALL
	SELECT 'comment', (pg_identify_object(d.classoid, d.objoid, d.objsubid)).identity, d.objsubid::text, to_jsonb(d.description)
	FROM pg_description d JOIN object o ON o.classid = d.classoid AND o.objid = d.objoid
	UNION ALL
	SELECT 'relation', r.name, 'definition', jsonb_build_array(r.relkind, r.relpersistence, r.relreplident, r.reloptions,
		r.relrowsecurity, r.relforcerowsecurity, r.relispartition, pg_get_expr(r.relpartbound, r.oid), r.relowner::regrole,
		CASE WHEN r.relkind = 'p' THEN pg_get_partkeydef(r.oid) END, (SELECT a.amname FROM pg_am a WHERE a.oid = r.relam),
		(SELECT array_agg(h.inhparent::regclass::text) FROM pg_inherits h WHERE h.inhrelid = r.oid))
	FROM relation r
	UNION ALL
	SELECT 'sequence', r.name, 'definition', to_jsonb(s) - 'seqrelid' - 'seqtypid' || jsonb_build_object('type', s.seqtypid::regtype)
	FROM relation r JOIN pg_sequence s ON s.seqrelid = r.oid
	UNION ALL
	SELECT 'column', r.name || '.' || a.attname, 'definition', jsonb_build_array(
		row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum), format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation,
		a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attgenerated, a.attidentity, a.attstorage, a.attcompression,
		-- pg_attver: where newer minors of released versions keep when a column was made or changed
		array(SELECT o FROM unnest(a.attoptions) o WHERE o NOT LIKE 'pg_attver=%'),
		nullif(a.attstattarget, -1), a.attacl::text[])
	FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
	LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
	UNION ALL
	SELECT 'index', i.name, 'definition', jsonb_build_array(pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisreplident,
		(SELECT c.reloptions FROM pg_class c WHERE c.oid = i.indexrelid))
	FROM indexes i
	UNION ALL
	SELECT 'constraint', r.name || '.' || k.conname, 'definition', jsonb_build_array(pg_get_constraintdef(k.oid), k.convalidated)
	FROM relation r JOIN pg_constraint k ON k.conrelid = r.oid
	UNION ALL
	SELECT 'trigger', r.name || '.' || t.tgname, 'definition', jsonb_build_array(pg_get_triggerdef(t.oid), t.tgenabled)
	FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
	UNION ALL
	SELECT 'policy', r.name || '.' || p.polname, 'definition', jsonb_build_array(p.polcmd, p.polpermissive, p.polroles::regrole[],
		pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
	FROM relation r JOIN pg_policy p ON p.polrelid = r.oid
	UNION ALL
	SELECT 'rule', r.name || '.' || w.rulename, 'definition', jsonb_build_array(pg_get_ruledef(w.oid), w.ev_enabled)
	FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid
	UNION ALL
	SELECT 'function', f.name, 'definition', jsonb_build_array(CASE WHEN f.prokind <> 'a' THEN pg_get_functiondef(f.oid) END, f.proowner::regrole)
	FROM function f
	UNION ALL
	SELECT 'grant', r.name, 'relation', to_jsonb(array(SELECT x::text FROM unnest(coalesce(r.relacl, acldefault(CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", r.relowner))) x ORDER BY 1))
	FROM relation r
	UNION ALL
	SELECT 'grant', f.name, 'function', to_jsonb(array(SELECT x::text FROM unnest(coalesce(f.proacl, acldefault('f', f.proowner))) x ORDER BY 1))
	FROM function f
	UNION ALL
	SELECT 'grant', n.nspname, 'schema', to_jsonb(array(SELECT x::text FROM unnest(coalesce(n.nspacl, acldefault('n', n.nspowner))) x ORDER BY 1))
	FROM pg_namespace n JOIN member m ON m.classid = 'pg_namespace'::regclass AND m.objid = n.oid
	UNION ALL -- what pg_dump takes for granted
	SELECT 'initial grant', (pg_identify_object(p.classoid, p.objoid, p.objsubid)).identity, p.privtype::text, to_jsonb(array(SELECT x::text FROM unnest(p.initprivs) x ORDER BY 1))
	FROM pg_init_privs p JOIN member m ON m.classid = p.classoid AND m.objid = p.objoid
	UNION ALL
	SELECT 'dump', c.oid::regclass::text, 'condition', to_jsonb(c.condition)
	FROM pg_extension e, unnest(e.extconfig, e.extcondition) c(oid, condition) WHERE e.extname = 'webhook'
	UNION ALL
	SELECT 'extension', e.extname, 'definition', jsonb_build_array(e.extversion, e.extrelocatable, e.extnamespace::regnamespace, e.extowner::regrole)
	FROM pg_extension e WHERE e.extname = 'webhook'
	UNION ALL
	SELECT 'profile', p.name, 'row', to_jsonb(p) FROM webhook.profile p WHERE p.builtin
)
SELECT jsonb_build_array(l.kind, l.name, l.property, l.value) FROM line l ORDER BY l.kind, l.name, l.property, l.value::text;
