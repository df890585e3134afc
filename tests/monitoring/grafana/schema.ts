// Grafana's types as a JSON file must fit them.
import type { Dashboard as GrafanaDashboard, AnnotationQuery, FieldConfigSource, Panel, RowPanel, VariableModel } from "@grafana/schema/dist/types/veneer/dashboard.types.js";
import type * as Stat from "@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen.js";
import type * as Table from "@grafana/schema/dist/types/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen.js";
import type * as TimeSeries from "@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.js";

// A text enumeration becomes its words: JSON has no enumerations.
type Plain<T> = T extends string
  ? `${T}`
  : T extends Array<infer Item>
    ? Array<Plain<Item>>
    : T extends object
      ? { [Key in keyof T]: Plain<T[Key]> }
      : T;

// What a query to Prometheus is; @grafana/schema leaves queries open.
interface Target {
  refId: string;
  datasource: { type: "prometheus"; uid: "${datasource}" };
  editorMode: "code";
  expr: string;
  legendFormat: string;
  range: boolean;
  instant: boolean;
  format?: "table";
}

interface PanelOf<Type extends string, Options, Custom> extends Omit<Plain<Panel>, "type" | "options" | "targets" | "fieldConfig"> {
  type: Type;
  targets: Target[];
  options: Plain<Options>;
  fieldConfig: Omit<Plain<FieldConfigSource>, "defaults"> & {
    defaults: Omit<Plain<FieldConfigSource>["defaults"], "custom"> & { custom?: Plain<Custom> };
  };
}
type AnyPanel =
  | PanelOf<"stat", Stat.Options, never>
  | PanelOf<"table", Table.Options, Partial<Table.FieldConfig>>
  | PanelOf<"timeseries", TimeSeries.Options, TimeSeries.FieldConfig>
  | (Omit<Plain<RowPanel>, "panels"> & { type: "row"; panels: [] });

// Prometheus' data source reads these two beside the schema's.
type Annotation = Omit<Plain<AnnotationQuery>, "target"> & { target: { refId: string; expr: string; interval: string }; useValueForTime?: true; titleFormat: string };

export interface Dashboard extends Omit<Plain<GrafanaDashboard>, "panels" | "annotations" | "templating"> {
  panels: AnyPanel[];
  annotations: { list: Annotation[] };
  templating: { list: Plain<VariableModel>[] };
}
