// Prints what the official AsyncAPI parser says of each document: {file: [{severity, code, message, path}]}.
// Severity 0 is an error. Usage: NODE_PATH=<installed node_modules> node diagnose.cjs <file>...
"use strict";
const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");

async function main(files) {
  const found = {};
  for (const file of files) {
    const { diagnostics } = await new Parser().parse(readFileSync(file, "utf8"), { source: file });
    found[file] = diagnostics.map(({ severity, code, message, path }) => ({ severity, code, message, path: path.join("/") }));
  }
  process.stdout.write(JSON.stringify(found));
}

main(process.argv.slice(2));
