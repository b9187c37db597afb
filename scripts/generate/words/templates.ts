// Title and body patterns of the generated world, by language. {a} {b}: terms of the post's sub-topic, {c}: a term
// of its second sub-topic, {t}: the sub-topic's name, {g}: the topic's angle, {n}: a number, {j}: an adjective,
// {A}: {a} with a capital. Patterns with {c} are only used when there is a second sub-topic. Read by ../post-text.ts.
export interface Patterns {
  titles: string[];
  mixed: string[];
  bodies: string[];
  adjectives: string[];
}

const split = (text: string): string[] => text.trim().split('\n');

export const PATTERNS: Record<string, Patterns> = {
  en: {
    titles: split(`
How I finally got {a} right
{A} or {b}: which one would you pick?
{n} things nobody tells you about {a}
{A}, {g}
My {j} attempt at {a}
A {j} guide to {a} and {b}
Why does {a} never work for me?
Is {a} really better than {b}?
{A} in {n} minutes
The {j} truth about {a}
Looking for advice on {a}
After {n} years of {t}, {a} still surprises me
Today I learned how {a} and {b} fit together
{A}: {g}
Stop ignoring {a}
What is the most {j} thing about {t}?
The case for {a} over {b}
We tested {n} kinds of {a}
Everything that went wrong with {a}
Small tip for {a} that saved me hours
Has anyone tried {a} with {b}?
From {a} to {b} in {n} weeks
Show us your {a}
{A} for beginners
I was wrong about {a}
{t}: my {n} favorites, from {a} to {b}
Can we talk about {a}?
The {j} history of {a}
Do you still use {a}?
{A} update, day {n}
An honest look at {a}
{n} mistakes with {a}, ranked
Weekly {t} thread: {a}
How much {a} is too much?
Found this {j} {a} yesterday
The best {a} I have seen this year`),
    mixed: split(`
{A} meets {c}
What {c} taught me about {a}
{A} and {c}, {g}
I spent {n} weekends on {a} because of {c}
An unexpected link between {a} and {c}
{A} for people who love {c}
{c} first, then {a}`),
    bodies: split(`
I have been at this for {n} months and {a} is still the hardest part.
Most people start with {b}, but I think {a} deserves more attention.
The short version: get {a} right before you worry about {b}.
Happy to answer questions about {a} in the comments.
Last week I compared {a} with {b} and the result was {j}.
If you are new to {t}, begin here.
My friends say {b} is {j}, and I am not so sure.
It took {n} tries.
Nobody at the {t} meetup agreed on this.
Here is what changed once I stopped worrying about {b}.`),
    adjectives: split(`
simple
surprising
honest
first
complete
beautiful
frustrating
weird
overrated
underrated
practical
cheap
quick
modern
old-fashioned
brilliant`),
  },
  es: {
    titles: split(`
Cómo aprendí {a} en {n} semanas
{A} o {b}: ¿qué prefieres?
{n} cosas que nadie te cuenta sobre {a}
¿Por qué me falla siempre {a}?
Guía {j} de {a} y {b}
Busco consejos sobre {a}
La verdad {j} sobre {a}
{A}: mi experiencia después de {n} meses
¿Merece la pena {a}?
Hoy quiero hablar de {a}
Todo lo que salió mal con {a}
{A} para principiantes
¿Alguien ha probado {a} con {b}?
Los mejores trucos para {a}
Me equivoqué con {a}
El día que descubrí {a}
{n} errores típicos con {a}`),
    mixed: split(`
Lo que {c} me enseñó sobre {a}
{A} y {c}, una mezcla {j}
Si te gusta {c}, prueba {a}`),
    bodies: split(`
Llevo {n} meses con esto y {a} sigue siendo lo más difícil.
La semana pasada comparé {a} con {b} y el resultado fue claro.
Contesto preguntas sobre {a} en los comentarios.
Casi todo el mundo empieza por {b}, pero yo no.`),
    adjectives: ['sencilla', 'completa', 'sorprendente', 'incómoda', 'breve', 'práctica'],
  },
  pt: {
    titles: split(`
Como aprendi {a} em {n} semanas
{A} ou {b}: o que preferem?
{n} coisas que ninguém conta sobre {a}
Porque é que {a} nunca me corre bem?
Guia de {a} e {b}
Procuro conselhos sobre {a}
A verdade {j} sobre {a}
{A}: a minha experiência depois de {n} meses
Será que {a} vale a pena?
Hoje quero falar de {a}
Tudo o que correu mal com {a}
{A} para principiantes
Alguém já experimentou {a} com {b}?
Os melhores truques para {a}
Enganei-me sobre {a}
O dia em que descobri {a}
{n} erros comuns com {a}`),
    mixed: split(`
O que {c} me ensinou sobre {a}
{A} e {c}, uma mistura {j}
Se gostas de {c}, experimenta {a}`),
    bodies: split(`
Ando nisto há {n} meses e {a} continua a ser o mais difícil.
Na semana passada comparei {a} com {b} e fiquei com a certeza.
Respondo a perguntas sobre {a} nos comentários.
Quase toda a gente começa por {b}, mas eu não.`),
    adjectives: ['simples', 'completa', 'surpreendente', 'incómoda', 'breve', 'prática'],
  },
  fr: {
    titles: split(`
Comment j'ai enfin réussi avec {a}
{A} ou {b} : que choisir ?
{n} choses que personne ne dit sur {a}
Pourquoi {a} ne marche jamais chez moi ?
Petit guide : {a} et {b}
Je cherche des conseils sur {a}
La vérité {j} sur {a}
{A} : mon bilan après {n} mois
Est-ce que {a}, ça vaut le coup ?
Aujourd'hui on parle de {a}
Tout ce qui a raté avec {a}
{A} pour les débutants
Qui a déjà essayé {a} avec {b} ?
Mes meilleures astuces pour {a}
Je me trompais sur {a}
Le jour où j'ai découvert {a}
{n} erreurs classiques avec {a}`),
    mixed: split(`
Ce que {c} m'a appris sur {a}
{A} et {c}, une rencontre {j}
Si vous aimez {c}, essayez {a}`),
    bodies: split(`
Cela fait {n} mois que je m'y mets et {a} reste le plus difficile.
La semaine dernière j'ai comparé {a} et {b}, le résultat est clair.
Je réponds aux questions sur {a} dans les commentaires.
Presque tout le monde commence par {b}, pas moi.`),
    adjectives: ['simple', 'complète', 'surprenante', 'gênante', 'brève', 'pratique'],
  },
  de: {
    titles: split(`
Wie {a} bei mir endlich klappt
{A} oder {b}: was ist besser?
{n} Dinge, die niemand über {a} sagt
Warum klappt {a} bei mir nie?
Kleiner Leitfaden: {a} und {b}
Suche Rat zu {a}
Die {j} Wahrheit über {a}
{A}: mein Fazit nach {n} Monaten
Lohnt sich {a} wirklich?
Heute geht es um {a}
Alles, was bei {a} schiefging
{A} für Anfänger
Hat jemand {a} mit {b} ausprobiert?
Meine besten Tipps für {a}
Bei {a} lag ich falsch
Der Tag, an dem ich {a} entdeckte
{n} typische Fehler bei {a}`),
    mixed: split(`
Was ich von {c} über {a} gelernt habe
{A} trifft {c}, eine {j} Mischung
Wer {c} mag, sollte {a} probieren`),
    bodies: split(`
Ich mache das seit {n} Monaten und {a} bleibt das Schwierigste.
Letzte Woche habe ich {a} mit {b} verglichen, das Ergebnis ist klar.
Fragen zu {a} beantworte ich gern in den Kommentaren.
Fast alle fangen mit {b} an, ich nicht.`),
    adjectives: ['einfache', 'ganze', 'überraschende', 'unbequeme', 'kurze', 'praktische'],
  },
};
