import { api, number, useAsked } from "../data";
import { Page, Table } from "../parts";

export function Topics() {
  const { data, fault } = useAsked(() => api.GET("/console/v1/topics"), 5);
  return (
    <Page title="Topics" fault={fault} waits={!data}>
      <Table label="Topics, offsets and lag" heads={["Topic", "Partitions", "Records", "Behind, by group", "Next offsets"]}>
        {data?.map((one) => (
          <tr key={one.topic}>
            <th scope="row">{one.topic}</th>
            <td class="n">{one.partitions}</td>
            <td class="n">{number(one.records)}</td>
            <td>
              {Object.entries(one.lag).map(([group, lag]) => (
                <span key={group} class={`chip ${lag > 1000 ? "bad" : ""}`}>{group} {number(lag)}</span>
              ))}
            </td>
            <td class="soft n">{one.offsets.map(([, end]) => end).join(" ")}</td>
          </tr>
        ))}
      </Table>
    </Page>
  );
}
