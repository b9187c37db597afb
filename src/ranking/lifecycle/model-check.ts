// Checks a version in a child process; a child that does not answer in time or dies is a refusal like any other.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { FeedrankError } from '../../errors.ts';
import type { CheckedModel, ModelCheck } from '../onnx-model-check.ts';

const SCRIPT = fileURLToPath(new URL('./model-check-process.ts', import.meta.url));
/** A 100 MB model loads and warms up in a few seconds; a busy machine takes several times that. */
const TIMEOUT_MS = 60_000;

/** @throws FeedrankError(corrupt_artifact) with the reason. */
export function checkInProcess(check: ModelCheck, timeoutMs = TIMEOUT_MS): Promise<CheckedModel> {
  const refuse = (reason: string) => new FeedrankError('corrupt_artifact', reason);
  const model = `model ${check.name}@${check.version}`;
  return new Promise((resolve, reject) => {
    const options = { timeout: timeoutMs, killSignal: 'SIGKILL' as const, maxBuffer: 1 << 20 };
    execFile(process.execPath, [SCRIPT, JSON.stringify(check)], options, (error, stdout) => {
      const answer = parseAnswer(stdout);
      if (answer?.checked) resolve(answer.checked);
      else if (answer?.refused !== undefined) reject(refuse(answer.refused));
      else if (error?.killed)
        reject(refuse(`${model}: did not load and answer within ${timeoutMs / 1000} s`));
      else {
        const ending = error?.signal ? `by ${error.signal}` : `with code ${error?.code ?? 0}`;
        reject(refuse(`${model}: the process that checked it ended ${ending}`));
      }
    });
  });
}

function parseAnswer(text: string): { checked?: CheckedModel; refused?: string } | null {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
