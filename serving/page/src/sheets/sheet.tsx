// A sheet at the side, on a phone from below: a head, what it holds, and a line that says how it goes.

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { closeSheet, openSheet, type SheetName } from "../sheets";
import { words } from "../words";

export interface Line {
  text: string;
  isFault?: boolean;
}

export function Sheet({ id, title, line, from, children }: {
  id: string; title: string; line: Line; from?: SheetName; children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    dialog.current!.showModal();
    heading.current!.focus();
  }, []);
  return (
    <dialog
      class="sheet" id={id} ref={dialog} aria-labelledby={`${id}-title`} onClose={closeSheet}
      // A click beside it: the sheet itself is the target only outside of what stands in it.
      onClick={(event) => { if (event.target === event.currentTarget) event.currentTarget.close(); }}
    >
      <div class="sheet-head">
        {from && <button type="button" class="plain back" aria-label={words().back} onClick={() => openSheet(from)}>‹</button>}
        <h2 id={`${id}-title`} ref={heading} tabIndex={-1}>{title}</h2>
        <button type="button" class="plain" onClick={() => dialog.current!.close()}>{words().close}</button>
      </div>
      {children}
      <p class="sheet-said" id={`${id}-said`} role="status" data-fault={String(line.isFault === true)}>{line.text}</p>
    </dialog>
  );
}

export function Section({ title, children }: { title: string; children: ComponentChildren }) {
  return <section><h3>{title}</h3>{children}</section>;
}

/** A way on to another sheet. */
export function Way({ to, name }: { to: SheetName; name: string }) {
  return <button type="button" class="way" onClick={() => openSheet(to)}>{name}<span aria-hidden="true">›</span></button>;
}
