// The extension's entry: Foxglove calls `activate` once, and the panel's start for every panel of it in a layout.
import type { ExtensionContext } from "@foxglove/extension";
import { startChainPanel } from "./chain_panel";

export function activate(extension: ExtensionContext): void {
  extension.registerPanel({ name: "Decision chain", initPanel: startChainPanel });
}
