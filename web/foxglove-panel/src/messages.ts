// The messages that the panel reads, as Foxglove decodes them; only the fields that it shows.

export interface Finding {
  kind: string;
  severity: number; // 0 info, 1 warning, 2 violation
  stage: string;
  message: string;
}

export interface StageStatus {
  stage: string;
  model: string;
  attestations: bigint | number;
  violations: bigint | number;
  rate: number;
  latency_ms: number;
}

export interface ChainStatus {
  state: number; // 0 no data, 1 holds, 2 degraded, 3 violated
  robot: string;
  decisions: bigint | number;
  linked: bigint | number;
  violations: bigint | number;
  chain_latency_ms: number;
  log_size: bigint | number;
  stages: StageStatus[];
  recent: Finding[];
}

export interface Verdict {
  mode: number; // 1 enforce, 2 monitor
  state: number; // 0 closed, 1 open, 2 latched
  accepted: boolean;
  reasons: string[];
  latency_ms: number;
}
