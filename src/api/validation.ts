// Zod schemas as Fastify's validators: a refusal is a FeedrankError that names every field.
import type { FastifySchemaCompiler } from 'fastify';
import type { z } from 'zod';
import { FeedrankError, type FieldProblem } from '../errors.ts';
import { fieldProblems } from '../features/domain-schema.ts';

/** Field problems shown for one request. */
const MAX_FIELDS = 20;

export function invalidFields(fields: readonly FieldProblem[]): FeedrankError {
  const shown = fields.slice(0, MAX_FIELDS);
  const more = fields.length > shown.length ? `, and ${fields.length - shown.length} more` : '';
  const detail = shown.map(({ field, reason }) => `${field}: ${reason}`).join('; ');
  return new FeedrankError('invalid_input', `${detail}${more}`, { fields: shown });
}

export const validateWithZod: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  return (data) => {
    const parsed = schema.safeParse(data);
    if (parsed.success) return { value: parsed.data };
    const fields = fieldProblems(parsed.error).map(({ field, reason }) => ({
      // An issue of the value as a whole has no path.
      field: field === '(row)' ? (httpPart ?? 'request') : field,
      reason,
    }));
    return { error: invalidFields(fields) };
  };
};
