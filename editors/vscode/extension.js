// Runs `rewarden lsp` for .rwd files. Highlighting works without it.
"use strict";

const { commands, window, workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

/** @type {LanguageClient | undefined} */
let client;

/** Starts the server; says so, once, where that fails: highlighting goes on. */
async function start() {
  const command = workspace.getConfiguration("rewarden").get("path", "rewarden");
  client = new LanguageClient(
    "rewarden",
    "Rewarden",
    { command, args: ["lsp"] },
    {
      documentSelector: [
        { scheme: "file", language: "rwd" },
        { scheme: "untitled", language: "rwd" },
      ],
    },
  );
  try {
    await client.start();
  } catch (error) {
    client = undefined;
    window.showErrorMessage(
      `Rewarden: \`${command} lsp\` does not run (${error}). Install it with pip, or set rewarden.path.`,
    );
  }
}

async function stop() {
  const running = client;
  client = undefined;
  if (running !== undefined) await running.stop();
}

/** Restarts wait for each other, so that there is never a second server. */
let last = Promise.resolve();
function restart() {
  last = last.then(stop, stop).then(start);
  return last;
}

/** @param {import("vscode").ExtensionContext} context */
function activate(context) {
  context.subscriptions.push(
    commands.registerCommand("rewarden.restart", restart),
    workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration("rewarden.path")) restart();
    }),
  );
  return restart();
}

function deactivate() {
  return last.then(stop, stop);
}

module.exports = { activate, deactivate };
