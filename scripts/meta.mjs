// Judges META.json by test/packages/meta_schema.json: what PGXN asks for. Prints each
// fault as "path: what is wrong", and nothing where all is well.
//
//   node scripts/meta.mjs [META.json]
//
// As much of JSON Schema as that schema uses. A keyword that is not known here is an
// error: one that is passed over would look like a check.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = new URL("..", import.meta.url);
const schema = JSON.parse(readFileSync(new URL("test/packages/meta_schema.json", root), "utf8"));

const typeOf = (value) => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value);
const matches = (pattern, text) => new RegExp(pattern, "u").test(text);
const length = (text) => [...text].length;

// keyword => what is wrong with value at path, if anything; a list
const keywords = {
	$schema: () => [],
	title: () => [],
	definitions: () => [],
	properties: () => [], // all three: members()
	patternProperties: () => [],
	additionalProperties: () => [],
	$ref: (ref, value, path) => check(schema.definitions[ref.replace("#/definitions/", "")], value, path),
	type: (type, value, path) => (typeOf(value) === type ? [] : [`${path}: must be of type ${type}`]),
	enum: (values, value, path) => (values.includes(value) ? [] : [`${path}: must be ${values.join(" or ")}`]),
	pattern: (pattern, value, path) =>
		typeof value !== "string" || matches(pattern, value) ? [] : [`${path}: ${JSON.stringify(value)} does not match ${pattern}`],
	minLength: (n, value, path) => (typeof value !== "string" || length(value) >= n ? [] : [`${path}: must not be empty`]),
	maxLength: (n, value, path) => (typeof value !== "string" || length(value) <= n ? [] : [`${path}: has more than ${n} characters`]),
	required: (names, value, path) =>
		typeOf(value) !== "object" ? [] : names.filter((name) => !(name in value)).map((name) => `${path}: ${name} is missing`),
	minProperties: (n, value, path) =>
		typeOf(value) !== "object" || Object.keys(value).length >= n ? [] : [`${path}: must have at least ${n} members`],
	propertyNames: (names, value, path) =>
		typeOf(value) !== "object" ? [] : Object.keys(value).flatMap((name) => check(names, name, `${path}.${name}`)),
	minItems: (n, value, path) => (typeOf(value) !== "array" || value.length >= n ? [] : [`${path}: must have at least ${n} items`]),
	items: (items, value, path) =>
		typeOf(value) !== "array" ? [] : value.flatMap((item, i) => check(items, item, `${path}[${i}]`)),
};

function members(rules, value, path) {
	if (typeOf(value) !== "object") return [];
	return Object.entries(value).flatMap(([name, member]) => {
		const at = `${path}.${name}`;
		const found = [];
		if (rules.properties && Object.hasOwn(rules.properties, name)) found.push(rules.properties[name]);
		for (const [pattern, rule] of Object.entries(rules.patternProperties ?? {})) if (matches(pattern, name)) found.push(rule);
		if (found.length === 0 && rules.additionalProperties === false) return [`${at}: is not known to the Meta Spec`];
		if (found.length === 0 && rules.additionalProperties) found.push(rules.additionalProperties);
		return found.flatMap((rule) => check(rule, member, at));
	});
}

function check(rules, value, path) {
	const faults = [];
	for (const [keyword, argument] of Object.entries(rules)) {
		if (!keywords[keyword]) throw new Error(`the schema has a keyword that is not known here: ${keyword}`);
		faults.push(...keywords[keyword](argument, value, path));
	}
	return [...faults, ...members(rules, value, path)];
}

const file = process.argv[2] ?? fileURLToPath(new URL("META.json", root));
let faults;
try {
	faults = check(schema, JSON.parse(readFileSync(file, "utf8")), "META.json");
} catch (error) {
	faults = [`META.json: ${error.message}`];
}
for (const fault of faults) console.log(fault);
process.exit(faults.length > 0 ? 1 : 0);
