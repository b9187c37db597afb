// What the settings of webhooks must say together. Called by config.ts; compose takes the parts of a sender from here.
import { WebhookHosts } from './api/jobs/webhook-hosts.ts';
import { webhookSecrets } from './api/jobs/webhook-sender.ts';
import type { Config } from './config.ts';
import { messageOf } from './errors.ts';

type WebhookConfig = Pick<Config, 'PROFILE' | 'WEBHOOK_HOSTS' | 'WEBHOOK_SECRET'>;

/** null while no host is allowed. @throws Error as `webhookProblems` says. */
export function webhookSettings(config: WebhookConfig): { hosts: WebhookHosts; secrets: Buffer[] } | null {
  const { PROFILE, WEBHOOK_HOSTS, WEBHOOK_SECRET } = config;
  if (WEBHOOK_HOSTS === undefined) return null;
  if (WEBHOOK_SECRET === undefined) throw new Error('WEBHOOK_SECRET: needed with WEBHOOK_HOSTS');
  const secrets = webhookSecrets(WEBHOOK_SECRET);
  if (secrets === null) throw new Error('WEBHOOK_SECRET: must be whsec_ and base64 of 24 to 64 bytes');
  return { hosts: new WebhookHosts(WEBHOOK_HOSTS, PROFILE === 'development'), secrets };
}

/** One line for what must not start. */
export function webhookProblems(config: WebhookConfig): string[] {
  try {
    webhookSettings(config);
    return [];
  } catch (error) {
    return [messageOf(error)];
  }
}
