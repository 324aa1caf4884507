// What .ci/lua does where StyLua comes from npm: `node lua.mjs PLACE check|write PASSES FOLDER…`, with the package installed in PLACE.
// Run at the root of the tree; settings are those of .stylua.toml, and what .styluaignore names is left alone.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [place, mode, passes, ...folders] = process.argv.slice(2);
const stylua = createRequire(join(resolve(place), "none.cjs"))("@johnnymorganz/stylua");

// The settings whose values are words, by the package's name for those.
const WORDS = {
  block_newline_gaps: "BlockNewlineGaps",
  call_parentheses: "CallParenType",
  collapse_simple_statement: "CollapseSimpleStatement",
  indent_type: "IndentType",
  line_endings: "LineEndings",
  quote_style: "QuoteStyle",
  space_after_function_names: "SpaceAfterFunctionNames",
  syntax: "LuaVersion",
};

function fail(text) {
  console.error(`.ci/lua: ${text}`);
  process.exit(2);
}

// The lines of a file that say something, with their numbers.
function lines(path) {
  const all = readFileSync(path, "utf8").split("\n");
  return all.map((text, index) => ({ text: text.trim(), at: `${path}:${index + 1}` })).filter(({ text }) => text && !text.startsWith("#"));
}

// A new one for each text: the package takes it away.
function settings() {
  const config = stylua.Config.new();
  for (const { text, at } of lines(".stylua.toml")) {
    const [, name, word, number] = /^(\w+)\s*=\s*(?:"(\w+)"|(\d+))$/.exec(text) ?? fail(`${at}: \`${text}\` is not \`name = "word"\` or \`name = number\``);
    if (!(name in config)) fail(`${at}: StyLua of npm has no setting \`${name}\``);
    const value = word === undefined ? Number(number) : stylua[WORDS[name]]?.[word];
    if (value === undefined) fail(`${at}: \`${name}\` cannot be "${word}"`);
    config[name] = value;
  }
  return config;
}

function laidOut(path, text) {
  try {
    return stylua.formatCode(text, settings(), undefined, stylua.OutputVerification.Full);
  } catch (error) {
    return fail(`${path}: ${error}`);
  }
}

// What another pass would leave as it is.
function settled(path, text) {
  for (let pass = 1; pass <= Number(passes); pass++) {
    const next = laidOut(path, text);
    if (next === text) return text;
    text = next;
  }
  return fail(`${path}: ${passes} passes of StyLua each change it again`);
}

const ignored = lines(".styluaignore").map(({ text, at }) => {
  if (!/^[\w./-]+\/$/.test(text)) fail(`${at}: \`${text}\` is not a folder of the tree, such as \`stdlib/types/\``);
  return text;
});

function files(folder) {
  if (ignored.includes(`${folder}/`)) return [];
  const entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return files(path);
    return entry.name.endsWith(".luau") ? [path] : [];
  });
}

const all = folders.flatMap(files);
if (all.length === 0) fail(`there are no Luau files in ${folders.join(", ")}`);
let other = 0;
for (const path of all) {
  const text = readFileSync(path, "utf8");
  if (laidOut(path, text) === text) continue;
  other += 1;
  if (mode === "write") writeFileSync(path, settled(path, text));
  console.log(mode === "write" ? `laid out  ${path}` : `differs   ${path}`);
}
console.log(mode === "write" ? `${other} of ${all.length} files laid out` : `${all.length} files, ${other} differ`);
process.exitCode = other > 0 && mode === "check" ? 1 : 0;
