// What the page says, in the language of who looks. English is there at once; another language is one file, loaded where it is spoken.

import { signal } from "@preact/signals";
import { en, type Words } from "./en";

const others = import.meta.glob<{ words: Words }>(["./*.ts", "!./index.ts", "!./en.ts"]);

/** Of which there is a file, by its tag. */
export const LANGUAGES = ["en", ...Object.keys(others).map((path) => path.slice(2, -3))].sort();

const spoken = signal<{ words: Words; locale: string }>({ words: en, locale: "en" });

/** The words of now: read where they are shown, so that another language is another view. */
export function words(): Words {
  return spoken.value.words;
}

/** For dates and numbers: the region of the device where its language is the one spoken. */
export function locale(): string {
  return spoken.value.locale;
}

/** The first wanted language of which there is a file, else English. */
export function chosen(wanted: readonly string[]): string {
  for (const one of wanted) {
    const language = one.toLowerCase().split("-")[0]!;
    if (LANGUAGES.includes(language)) return language;
  }
  return "en";
}

export async function speak(language: string): Promise<void> {
  const found = language === "en" ? en : (await others[`./${language}.ts`]!()).words;
  document.documentElement.lang = language;
  spoken.value = { words: found, locale: navigator.languages.find((one) => one.toLowerCase().startsWith(language)) ?? language };
}

/** A form for each of the language's categories that it has: `other` always (Intl.PluralRules). */
export type Plural = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string };

export function form(count: number, forms: Plural): string {
  return forms[new Intl.PluralRules(locale()).select(count)] ?? forms.other;
}

/** `#` in the form that goes with the number. */
export function plural(count: number, forms: Plural): string {
  return form(count, forms).replace("#", count.toLocaleString(locale()));
}

/** A time of today by the clock alone, another one with its day. */
export function clock(iso: string): string {
  const time = new Date(iso);
  const isToday = time.toDateString() === new Date().toDateString();
  return time.toLocaleString(locale(), isToday ? { timeStyle: "short" } : { weekday: "short", hour: "numeric", minute: "2-digit" });
}

export function day(iso: string): string {
  return new Date(iso).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "short" });
}
