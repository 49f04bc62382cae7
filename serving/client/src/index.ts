// oO's HTTP API, typed from the edge's own OpenAPI document. It knows how to ask; it keeps nothing.

import createClient, { type Client, type ClientOptions } from "openapi-fetch";
import type { components, paths } from "./api.js";

export type { components, operations, paths } from "./api.js";

/** A body of the API by its name in the document, as `Body<"TipBody">`. */
export type Body<Name extends keyof components["schemas"]> = components["schemas"][Name];

/**
 * A client of one edge. With a `token` it speaks for that person; without, a browser's session does.
 *
 *     const { data, error } = await client({ baseUrl: "https://tips.example", token }).GET("/v1/tip");
 *
 * It throws where nobody answers; what an edge refuses stands in `error`, as RFC 9457 has it.
 */
export function client({ token, ...options }: ClientOptions & { token?: string } = {}): Client<paths> {
  const made = createClient<paths>(options);
  if (token !== undefined) {
    made.use({
      onRequest({ request }) {
        request.headers.set("authorization", `Bearer ${token}`);
        return request;
      },
    });
  }
  return made;
}
