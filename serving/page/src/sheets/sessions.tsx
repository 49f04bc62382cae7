// The sheet of devices that are signed in, and signing out: here, there, everywhere.

import { useEffect, useState } from "preact/hooks";
import { api, ask, Refused, why } from "../api";
import { leaveAll } from "../leaving";
import { day, words } from "../words";
import { type Line, Sheet } from "./sheet";

export function Sessions() {
  const said = words();
  const [found, set] = useState<Awaited<ReturnType<typeof read>>>([]);
  const [line, say] = useState<Line>({ text: said.looking });
  const read = async () => (await ask(() => api.GET("/v1/sessions"))).sessions;

  async function look(): Promise<void> {
    try {
      set(await read());
      say({ text: "" });
    } catch (error) {
      say({ text: error instanceof Refused && error.status === 404 ? said.noSessions : `${why(error)} ${said.tryAgain}`, isFault: true });
    }
  }
  useEffect(() => { void look(); }, []);

  async function doing(what: () => Promise<void>): Promise<void> {
    say({ text: said.aMoment });
    try {
      await what();
    } catch (error) {
      say({ text: said.notThrough(why(error)), isFault: true });
    }
  }

  const signOut = (everywhere: boolean) => doing(() => leaveAll(() => ask(() => api.POST("/auth/logout", { params: { query: { everywhere } } }))));
  return (
    <Sheet id="sessions" title={said.sessions} line={line} from="settings">
      <ul class="earlier">
        {found.map((one) => (
          <li key={one.session_id}>
            <b>{one.device || said.unknownDevice}{one.current && ` · ${said.thisDevice}`}</b>
            <small>{said.signedIn(day(one.signed_in_at), day(one.used_at))}</small>
            {!one.current && (
              <button type="button" class="plain" aria-label={`${said.signOutThere}: ${one.device}`} onClick={() => doing(async () => {
                await ask(() => api.DELETE("/v1/sessions/{session_id}", { params: { path: { session_id: one.session_id } } }));
                await look();
              })}>{said.signOutThere}</button>
            )}
          </li>
        ))}
      </ul>
      <p class="yours">
        <button type="button" onClick={() => signOut(false)}>{said.signOut}</button>
        <button type="button" class="plain grave" onClick={() => signOut(true)}>{said.signOutEverywhere}</button>
      </p>
    </Sheet>
  );
}
