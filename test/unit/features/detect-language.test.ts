import { describe, expect, it } from 'vitest';
import { detectLanguage } from '../../../src/features/detect-language.ts';

describe('the language of a text', () => {
  it.each([
    ['Why does my cat sit on the keyboard?', 'en'],
    ['Warum sitzt meine Katze auf der Tastatur?', 'de'],
    ['¿Por qué mi gato se sienta siempre en el teclado?', 'es'],
    ['今日はいい天気ですね', 'ja'],
    ['Почему мой кот сидит на клавиатуре?', 'ru'],
  ])('%s → %s', (text, language) => {
    expect(detectLanguage(text)).toBe(language);
  });

  it.each(['', 'lol', '12345 67890', '🐈🐈🐈', 'https://example.org/warum/sitzt/meine/katze'])(
    'of "%s" is not guessed',
    (text) => {
      expect(detectLanguage(text)).toBeUndefined();
    },
  );
});
