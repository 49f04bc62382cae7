// What a tip says: the engine's own sentences in the language of who looks, a person's words and a model's as they are.

import type { Body } from "oo-client";
import { form, words } from "./words";

type Tip = Body<"TipBody">;
type Phrase = Body<"PhraseBody">;

/** `of` is not there in a tip that was kept by an older page, and may have a code that this one does not know. */
function inWords(text: string, of: Phrase | null | undefined): string {
  const spoken = words().phrases;
  const said = of && spoken?.phrases[of.code];
  if (!said) return text;
  const values = { ...of.values, part: spoken!.parts[of.values.part!] };
  const template = typeof said === "string" ? said : form(Number(of.values[said.by]), said);
  return template.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name as keyof typeof values]));
}

export function titleOf(tip: Tip): string {
  return inWords(tip.title, tip.phrases?.title);
}

export function detailOf(tip: Tip): string {
  return inWords(tip.detail, tip.phrases?.detail);
}

export function whyOf(tip: Tip): string[] {
  return tip.why.map((line, at) => inWords(line, tip.phrases?.why[at]));
}
