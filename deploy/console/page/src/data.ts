// What the pages know of the server: the typed calls, and reading something again and again.

import createClient from "openapi-fetch";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { components, paths } from "./api";

export type Schemas = components["schemas"];
export const api = createClient<paths>({ headers: { "x-oo-console": "1" } });

type Answer<T> = { data?: T; error?: unknown; response: Response };

export interface Known<T> {
  data: T | undefined;
  fault: string;
  again: () => void;
}

/** The words of a problem (RFC 9457), or of a server that is not there. */
export function words(error: unknown): string {
  const detail = (error as { detail?: unknown } | undefined)?.detail;
  return typeof detail === "string" ? detail : "The console does not answer: does `oo console` still run?";
}

/** Ask now, and again every so many seconds while the page is looked at; 0: once. What was known stays while it is asked again. */
export function useAsked<T>(ask: () => Promise<Answer<T>>, everyS: number, about: unknown[] = []): Known<T> {
  const [data, setData] = useState<T>();
  const [fault, setFault] = useState("");
  const turn = useRef(0);
  const again = useCallback(async () => {
    const mine = ++turn.current;
    try {
      const answer = await ask();
      if (mine !== turn.current) return;
      if (answer.data === undefined) setFault(words(answer.error));
      else {
        setData(answer.data);
        setFault("");
      }
    } catch (error) {
      if (mine === turn.current) setFault(words(error));
    }
  }, about);
  useEffect(() => {
    setData(undefined);
    void again();
    if (!everyS) return;
    const timer = setInterval(() => document.visibilityState === "visible" && void again(), everyS * 1000);
    return () => {
      clearInterval(timer);
      turn.current++;
    };
  }, [again, everyS]);
  return { data, fault, again: () => void again() };
}

export const number = (value: number) => value.toLocaleString("en");
export const signed = (value: number, digits = 3) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
export const clock = (ms: number) => new Date(ms).toLocaleTimeString("en-GB");
export const when = (ms: number) => (ms ? new Date(ms).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }) : "");
/** The kind of a tip. What a language model wrote says so. */
export const kindly = (kind: string) => (kind === "GENERATED" ? "written by a language model" : lower(kind));
export const lower = (name: string) => name.toLowerCase().replaceAll("_", " ");
