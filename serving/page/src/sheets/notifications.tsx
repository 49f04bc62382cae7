// The sheet of notifications: on this device after a word of what they are, by mail, how many a day; where they go, and what was sent.

import { useEffect, useState } from "preact/hooks";
import type { Body } from "oo-client";
import { api, ask, askOfNewcomer, why } from "../api";
import { grant, type Push, removeDevice, standing, turnOff, turnOn } from "../push";
import { day, words } from "../words";
import { type Line, Section, Sheet } from "./sheet";

type Device = Body<"DeviceKnown">;
type Delivery = Body<"DeliveryBody">;

function channel(name: Device["channel"]): string {
  return words().channels[name];
}

/** What became of one; where it was not sent, why. */
function outcome(one: Delivery): string {
  const { deliveryStates, reasons } = words();
  const state = deliveryStates[one.state];
  return one.reason ? `${state}: ${reasons[one.reason as keyof typeof reasons] ?? one.reason}` : state;
}

const PER_DAY = [1, 2, 3, 5, 10];

export function Notifications() {
  const said = words();
  const [push, setPush] = useState<Push>("off");
  const [perDay, setPerDay] = useState<number | null>(null);
  const [devices, setDevices] = useState<Device[]>([]);
  const [log, setLog] = useState<Delivery[]>([]);
  const [line, say] = useState<Line>({ text: said.looking });

  async function look(): Promise<void> {
    const [now, me, known, sent] = await Promise.all([
      standing(),
      ask(() => api.GET("/v1/me")),
      ask(() => api.GET("/v1/devices")),
      ask(() => api.GET("/v1/deliveries")),
    ]);
    const isKnown = known.devices.some((one) => one.device_id === localStorage.getItem("device"));
    setPush(now === "on" && !isKnown ? "off" : now);
    setPerDay(me.notifications_per_day);
    setDevices(known.devices);
    setLog(sent.items);
  }

  async function doing(what: () => Promise<string>): Promise<void> {
    say({ text: said.aMoment });
    try {
      const text = await what();
      await look();
      say({ text });
    } catch (error) {
      // The browser's own refusal has words of its own.
      say({ text: said.notThrough(error instanceof DOMException ? error.message : why(error)), isFault: true });
    }
  }
  useEffect(() => { void doing(async () => ""); }, []);
  const meanwhile = () => say({ text: said.gettingReady });

  return (
    <Sheet id="notifications" title={said.notifications} line={line} from="settings">
      <Section title={said.onThisDevice}>
        {push === "impossible" && <p class="soft">{said.pushImpossible}</p>}
        {push === "denied" && <p class="soft">{said.pushDenied}</p>}
        {push === "off" && (
          <>
            <p>{said.prePrompt}</p>
            <p class="yours"><button type="button" class="primary" onClick={() => doing(async () => ((await turnOn(meanwhile)) === "on" ? said.pushOn : said.pushDenied))}>{said.tellMe}</button></p>
          </>
        )}
        {push === "on" && <p>{said.pushOn} <button type="button" class="plain" onClick={() => doing(async () => { await turnOff(); return said.taken; })}>{said.turnOff}</button></p>}
      </Section>
      <Section title={said.howMany}>
        <p class="field">
          <label>{said.perDay}{" "}
            <select value={String(perDay ?? "")} onChange={(event) => {
              const wanted = event.currentTarget.value === "" ? null : Number(event.currentTarget.value);
              setPerDay(wanted);
              void doing(async () => { await ask(() => api.PATCH("/v1/me", { body: { notifications_per_day: wanted } as never })); return said.noted; });
            }}>
              <option value="">{said.asUsual}</option>
              {[...new Set([...PER_DAY, ...(perDay === null ? [] : [perDay])])].sort((a, b) => a - b).map((one) => <option key={one} value={one}>{one}</option>)}
            </select>
          </label>
        </p>
      </Section>
      <Section title={said.byMail}>
        <form class="field" onSubmit={(event) => {
          event.preventDefault();
          const email = String(new FormData(event.currentTarget).get("email"));
          void doing(async () => { await askOfNewcomer(() => api.POST("/v1/devices", { body: { email } }), meanwhile); await grant("email"); return said.confirmMail; });
        }}>
          <label>{said.address} <input type="email" name="email" required autocomplete="email" /></label>
          <p class="yours"><button type="submit">{said.addAddress}</button></p>
        </form>
      </Section>
      {devices.length > 0 && (
        <Section title={said.whereTo}>
          <ul class="earlier">
            {devices.map((one) => (
              <li key={one.device_id}>
                <b dir="auto">{one.name || channel(one.channel)}</b>
                <small>{[channel(one.channel), one.confirmed || one.channel !== "email" ? "" : said.notConfirmed].filter(Boolean).join(" · ")}</small>
                <button type="button" class="plain grave" aria-label={`${said.remove}: ${one.name || channel(one.channel)}`} onClick={() => doing(async () => { await removeDevice(one.device_id); return said.taken; })}>{said.remove}</button>
              </li>
            ))}
          </ul>
        </Section>
      )}
      {log.length > 0 && (
        <Section title={said.whatWasSent}>
          <ol class="earlier">
            {log.map((one) => (
              <li key={one.delivery_id + one.channel}>
                <b>{day(one.begun_at)}</b>
                <small>{[channel(one.channel), outcome(one), said.cameOf[one.reaction as keyof typeof said.cameOf] ?? ""].filter(Boolean).join(" · ")}</small>
              </li>
            ))}
          </ol>
        </Section>
      )}
    </Sheet>
  );
}
