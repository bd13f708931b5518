// Validates an AsyncAPI document with the official parser: node validate.mjs FILE.
// Every diagnostic is printed; an error or a warning fails.
import { DiagnosticSeverity, fromFile, Parser } from '@asyncapi/parser'

const [file] = process.argv.slice(2)
if (!file) {
  console.error('usage: node validate.mjs FILE')
  process.exit(2)
}
const { document, diagnostics } = await fromFile(new Parser(), file).parse()
for (const { code, message, path, range, severity } of diagnostics) {
  console.error(`${file}:${range.start.line + 1}: ${DiagnosticSeverity[severity]} ${code}: ${message} (${path.join('.')})`)
}
const failed = diagnostics.some(({ severity }) => severity <= DiagnosticSeverity.Warning)
if (failed || !document) {
  process.exit(1)
}
console.log(`${file}: AsyncAPI ${document.version()}, ${document.channels().length} channels, ${document.messages().length} messages`)
