// A real browser for the trials: reads commands as lines of JSON on stdin, answers each with a line of JSON on stdout.
//
//   node browser.mjs FOLDER_OF_NODE_MODULES
//
//   {"id": 1, "open": "http://...", "dark": true, "width": 360, "height": 740}    a page, in a profile of its own
//   {"id": 2, "page": 1, "run": "return await page.title()"}                      runs this with playwright's `page`
//   {"id": 3, "page": 1, "until": "document.title", "ms": 1000}                   waits until this is true in the page
//   {"id": 4, "page": 1, "heard": true}       what went wrong in it, what it asked of others, and how large it is
//   {"id": 5, "page": 1, "close": true}
//
// When stdin ends, the browser ends.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { gzipSync } from "node:zlib";

const { chromium } = createRequire(process.argv[2] + "/")("playwright-core");

const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    ],
});
const pages = new Map();

async function open({ open: url, dark = false, width = 1280, height = 720 }) {
    const context = await browser.newContext({
        colorScheme: dark ? "dark" : "light",
        viewport: { width, height },
        acceptDownloads: true,
    });
    const page = await context.newPage();
    const heard = { errors: [], strangers: [], files: [], dialogs: 0 };
    const origin = new URL(url).origin;
    page.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) {
            heard.errors.push(`${message.type()}: ${message.text()} (${message.location().url})`);
        }
    });
    page.on("pageerror", (error) => heard.errors.push(`thrown: ${error.stack ?? error}`));
    page.on("dialog", (dialog) => {
        heard.dialogs += 1;
        void dialog.dismiss();
    });
    page.on("request", (request) => {
        const asked = new URL(request.url());
        if (asked.origin !== origin && !["data:", "blob:"].includes(asked.protocol)) heard.strangers.push(request.url());
    });
    // The page's own files, as they would travel compressed.
    page.on("response", (response) => {
        if (new URL(response.url()).pathname.startsWith("/api/")) return;
        heard.files.push(
            response.body().then(
                (body) => ({ url: response.url(), bytes: body.length, gzip: gzipSync(body, { level: 9 }).length }),
                () => ({ url: response.url(), bytes: 0, gzip: 0 }),
            ),
        );
    });
    await page.goto(url, { waitUntil: "commit" });
    return { page, heard };
}

// Playwright's own way to wait evaluates texts inside the page, which the page's security policy forbids.
async function until(page, expression, ms) {
    const end = performance.now() + ms;
    for (;;) {
        // A page that is still being read may lack what is looked at.
        const found = await page.evaluate(`Boolean(${expression})`).catch((error) => error);
        if (found === true) return;
        if (performance.now() > end) throw new Error(`waited ${ms} ms: ${found}`);
        await new Promise((done) => setTimeout(done, 20));
    }
}

async function answer(command) {
    if (command.open !== undefined) {
        pages.set(command.id, await open(command));
        return command.id;
    }
    const { page, heard } = pages.get(command.page);
    if (command.run !== undefined) return await new (async () => {}).constructor("page", command.run)(page);
    if (command.until !== undefined) return await until(page, command.until, command.ms);
    if (command.heard) return { ...heard, files: await Promise.all(heard.files) };
    if (command.close) {
        pages.delete(command.page);
        await page.context().close();
        return null;
    }
    throw new Error(`no such command: ${JSON.stringify(command)}`);
}

for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    // Several scenarios ask at once.
    answer(command).then(
        (value) => console.log(JSON.stringify({ id: command.id, value: value ?? null })),
        (error) => console.log(JSON.stringify({ id: command.id, error: String(error) })),
    );
}
await browser.close();
