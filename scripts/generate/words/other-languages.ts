// Words of the generated world in Spanish, Portuguese, French and German: `sub-topic : terms` for the sub-topics of
// en.ts that authors of these languages write about. Read by ../lexicon.ts.
export const SPANISH = `
football : tanda de penaltis, fuera de juego, portero suplente, final de copa, delantero centro, tiro libre, cantera, derbi
tennis : segundo saque, tierra batida, revés a una mano, desempate, dejada, final de dobles, cuerdas, torneo de hierba
baking : masa madre, pan de centeno, cruasán, bizcocho, hojaldre, horno de piedra, levadura, roscón
grilling : asado, costillas, carbón, chorizo, parrilla, entraña, adobo, brasas
coffee : cafetera italiana, café de filtro, molinillo, cortado, espuma de leche, tueste claro, cápsulas, café helado
desserts : flan casero, arroz con leche, tarta de queso, churros, natillas, turrón, helado de vainilla, mousse de chocolate
typescript : tipos genéricos, modo estricto, inferencia, compilador, módulos, guardas de tipo, configuración, decoradores
databases : índice, consulta lenta, réplica, migración, copia de seguridad, transacción, bloqueo, partición
machine-learning : red neuronal, entrenamiento, sobreajuste, modelo de lenguaje, datos etiquetados, gradiente, tarjeta gráfica, vectores
security : contraseña, ataque de phishing, cifrado, cortafuegos, doble factor, filtración de datos, virus, certificado
hiking : ruta de montaña, refugio, botas, cumbre, mapa, mochila, sendero, amanecer en la cima
beaches : cala escondida, arrecife, chiringuito, snorkel, palmeras, puesta de sol, tabla de surf, arena blanca
japan : templo de Kioto, tren bala, cerezos, aguas termales, ramen en Tokio, santuario, hotel cápsula, mercado de pescado
guitar : cuerdas de nailon, acorde con cejilla, amplificador, rasgueo, arpegio, guitarra flamenca, afinación, solo de blues
vegetables : tomates de huerta, semillero, calabacín, riego por goteo, ajos, pimientos, lechugas, compost casero
houseplants : monstera, poto, esquejes, maceta, luz indirecta, raíces, suculentas, abono
sleep : insomnio, siesta, melatonina, ronquidos, turno de noche, colchón, luz azul, rutina nocturna
nutrition : proteínas, fibra, azúcar, ayuno, vitamina D, verduras, dieta mediterránea, legumbres
investing : fondo indexado, dividendos, bolsa, cartera, comisiones, bonos, interés compuesto, acciones
budgeting : fondo de emergencia, ahorro mensual, gastos fijos, nómina, deudas, presupuesto familiar, suscripciones, lista de la compra
horror : casa encantada, película de zombis, susto, vampiros, posesión, sesión de medianoche, monstruo, sangre falsa
tv-series : final de temporada, episodio piloto, maratón, guionista, comedia, remake, estreno, miniserie
dogs : cachorro, paseo, adiestramiento, correa, protectora, ladridos, veterinario, galgo
cats : gato naranja, arenero, rascador, gatito, ronroneo, caja de cartón, pelo, gato adoptado
elections : encuesta, debate, coalición, voto por correo, participación, campaña, urnas, segunda vuelta
economy : inflación, tipos de interés, salario mínimo, huelga, aranceles, paro, alquileres, banco central
solar : placas solares, inversor, batería, factura de la luz, autoconsumo, tejado, huerto solar, excedentes
weather : ola de calor, tormenta, sequía, granizo, inundación, nevada, viento, previsión
`;
export const PORTUGUESE = `
football : grande penalidade, fora de jogo, guarda-redes, final da taça, ponta de lança, livre direto, formação, clássico
tennis : segundo serviço, terra batida, esquerda a uma mão, desempate, amorti, final de pares, cordas, torneio de relva
baking : massa-mãe, pão de centeio, croissant, bolo de cenoura, massa folhada, forno a lenha, fermento, broa
grilling : churrasco, costelas, carvão, sardinhas assadas, grelha, picanha, marinada, brasas
coffee : cafeteira italiana, café de filtro, moinho, galão, espuma de leite, torra clara, cápsulas, café gelado
desserts : pastel de nata, arroz doce, pudim, mousse de chocolate, brigadeiro, gelado de limão, farófias, tarte de maçã
typescript : tipos genéricos, modo estrito, inferência, compilador, módulos, configuração, testes, decoradores
databases : índice, consulta lenta, réplica, migração, cópia de segurança, transação, bloqueio, partição
machine-learning : rede neuronal, treino, sobreajuste, modelo de linguagem, dados anotados, gradiente, placa gráfica, vetores
security : palavra-passe, ataque de phishing, cifra, firewall, dois fatores, fuga de dados, vírus, certificado
hiking : trilho de montanha, abrigo, botas, cume, mapa, mochila, serra, nascer do sol
beaches : praia deserta, recife, bar de praia, mergulho, palmeiras, pôr do sol, prancha de surf, areia branca
japan : templo de Quioto, comboio-bala, cerejeiras, termas, ramen em Tóquio, santuário, hotel cápsula, mercado de peixe
guitar : cordas de nylon, acorde com pestana, amplificador, dedilhado, arpejo, guitarra portuguesa, afinação, solo de blues
vegetables : tomates da horta, sementeira, curgete, rega gota a gota, alhos, pimentos, alfaces, composto caseiro
houseplants : monstera, jiboia, estacas, vaso, luz indireta, raízes, suculentas, adubo
sleep : insónia, sesta, melatonina, ressonar, turno da noite, colchão, luz azul, rotina noturna
nutrition : proteína, fibra, açúcar, jejum, vitamina D, legumes, dieta mediterrânica, leguminosas
investing : fundo de índice, dividendos, bolsa, carteira, comissões, obrigações, juros compostos, ações
budgeting : fundo de emergência, poupança mensal, despesas fixas, ordenado, dívidas, orçamento familiar, subscrições, lista de compras
horror : casa assombrada, filme de zombies, susto, vampiros, possessão, sessão da meia-noite, monstro, sangue falso
tv-series : final de temporada, episódio piloto, maratona, argumentista, comédia, remake, estreia, minissérie
dogs : cachorro, passeio, treino, trela, canil, latidos, veterinário, perdigueiro
cats : gato laranja, caixa de areia, arranhador, gatinho, ronronar, caixa de cartão, pelo, gato adotado
elections : sondagem, debate, coligação, voto por correspondência, afluência, campanha, urnas, segunda volta
economy : inflação, taxas de juro, salário mínimo, greve, tarifas, desemprego, rendas, banco central
solar : painéis solares, inversor, bateria, fatura da luz, autoconsumo, telhado, parque solar, excedentes
weather : onda de calor, trovoada, seca, granizo, cheia, nevão, vento, previsão
`;
export const FRENCH = `
football : tirs au but, hors-jeu, gardien remplaçant, finale de coupe, avant-centre, coup franc, centre de formation, derby
tennis : seconde balle, terre battue, revers à une main, jeu décisif, amortie, finale de double, cordage, tournoi sur gazon
baking : levain, pain de seigle, croissant, brioche, pâte feuilletée, four à pierre, levure, galette
grilling : barbecue, côtes de porc, charbon, merguez, plancha, entrecôte, marinade, braises
coffee : cafetière italienne, café filtre, moulin, noisette, mousse de lait, torréfaction claire, dosettes, café glacé
desserts : crème brûlée, riz au lait, tarte au citron, éclairs, île flottante, mousse au chocolat, glace à la vanille, macarons
typescript : types génériques, mode strict, inférence, compilateur, modules, configuration, tests, décorateurs
databases : index, requête lente, réplication, migration, sauvegarde, transaction, verrou, partition
machine-learning : réseau de neurones, entraînement, surapprentissage, modèle de langue, données annotées, gradient, carte graphique, vecteurs
security : mot de passe, hameçonnage, chiffrement, pare-feu, double authentification, fuite de données, virus, certificat
hiking : sentier de crête, refuge, chaussures, sommet, carte, sac à dos, randonnée, lever de soleil
beaches : crique cachée, récif, paillote, plongée, palmiers, coucher de soleil, planche de surf, sable blanc
japan : temple de Kyoto, train à grande vitesse, cerisiers, sources chaudes, ramen à Tokyo, sanctuaire, hôtel capsule, marché aux poissons
guitar : cordes en nylon, accord barré, amplificateur, arpège, guitare manouche, accordage, solo de blues, médiator
vegetables : tomates du potager, semis, courgette, goutte-à-goutte, ail, poivrons, salades, compost maison
houseplants : monstera, pothos, boutures, pot en terre, lumière indirecte, racines, succulentes, engrais
sleep : insomnie, sieste, mélatonine, ronflements, travail de nuit, matelas, lumière bleue, rituel du soir
nutrition : protéines, fibres, sucre, jeûne, vitamine D, légumes, régime méditerranéen, légumineuses
investing : fonds indiciel, dividendes, bourse, portefeuille, frais, obligations, intérêts composés, actions
budgeting : épargne de précaution, économies du mois, charges fixes, salaire, dettes, budget familial, abonnements, liste de courses
horror : maison hantée, film de zombies, sursaut, vampires, possession, séance de minuit, monstre, faux sang
tv-series : fin de saison, épisode pilote, marathon, scénariste, comédie, remake, sortie, mini-série
dogs : chiot, promenade, dressage, laisse, refuge, aboiements, vétérinaire, berger
cats : chat roux, litière, griffoir, chaton, ronronnement, carton, poils, chat adopté
elections : sondage, débat, coalition, procuration, participation, campagne, urnes, second tour
economy : inflation, taux d'intérêt, salaire minimum, grève, droits de douane, chômage, loyers, banque centrale
solar : panneaux solaires, onduleur, batterie, facture d'électricité, autoconsommation, toiture, ferme solaire, surplus
weather : canicule, orage, sécheresse, grêle, inondation, neige, vent, prévisions
`;
export const GERMAN = `
football : Elfmeterschießen, Abseits, Ersatztorwart, Pokalfinale, Mittelstürmer, Freistoß, Nachwuchsakademie, Derby
tennis : zweiter Aufschlag, Sandplatz, einhändige Rückhand, Tie-Break, Stoppball, Doppelfinale, Bespannung, Rasenturnier
baking : Sauerteig, Roggenbrot, Croissant, Hefezopf, Blätterteig, Pizzastein, Vorteig, Streuselkuchen
grilling : Grillabend, Rippchen, Holzkohle, Bratwurst, Smoker, Nackensteak, Marinade, Glut
coffee : Espressokanne, Filterkaffee, Kaffeemühle, Cappuccino, Milchschaum, helle Röstung, Siebträger, Eiskaffee
desserts : Käsekuchen, Milchreis, Apfelstrudel, Schwarzwälder Kirschtorte, Vanilleeis, Schokoladenmousse, Kaiserschmarrn, Tiramisu
typescript : generische Typen, strenger Modus, Typinferenz, Compiler, Module, Konfiguration, Tests, Dekoratoren
databases : Index, langsame Abfrage, Replikation, Migration, Datensicherung, Transaktion, Sperre, Partition
machine-learning : neuronales Netz, Training, Überanpassung, Sprachmodell, gelabelte Daten, Gradient, Grafikkarte, Vektoren
security : Passwort, Phishing-Mail, Verschlüsselung, Firewall, zweiter Faktor, Datenleck, Virus, Zertifikat
hiking : Höhenweg, Berghütte, Wanderschuhe, Gipfel, Wanderkarte, Rucksack, Klettersteig, Sonnenaufgang
beaches : versteckte Bucht, Korallenriff, Strandbar, Schnorcheln, Palmen, Sonnenuntergang, Surfbrett, weißer Sand
japan : Tempel in Kyoto, Schnellzug, Kirschblüte, heiße Quellen, Ramen in Tokio, Schrein, Kapselhotel, Fischmarkt
guitar : Nylonsaiten, Barrégriff, Verstärker, Zupfmuster, Westerngitarre, Stimmung, Blues-Solo, Plektrum
vegetables : Tomaten im Hochbeet, Aussaat, Zucchini, Tröpfchenbewässerung, Knoblauch, Paprika, Salat, Kompost
houseplants : Monstera, Efeutute, Stecklinge, Blumentopf, indirektes Licht, Wurzeln, Sukkulenten, Dünger
sleep : Schlaflosigkeit, Mittagsschlaf, Melatonin, Schnarchen, Nachtschicht, Matratze, blaues Licht, Abendroutine
nutrition : Eiweiß, Ballaststoffe, Zucker, Intervallfasten, Vitamin D, Gemüse, Mittelmeerkost, Hülsenfrüchte
investing : Indexfonds, Dividenden, Börse, Depot, Gebühren, Anleihen, Zinseszins, Aktien
budgeting : Notgroschen, Sparquote, Fixkosten, Gehalt, Schulden, Haushaltsbuch, Abos, Einkaufszettel
horror : Spukhaus, Zombiefilm, Schreckmoment, Vampire, Besessenheit, Mitternachtskino, Monster, Kunstblut
tv-series : Staffelfinale, Pilotfolge, Serienmarathon, Drehbuch, Komödie, Neuauflage, Serienstart, Miniserie
dogs : Welpe, Spaziergang, Hundeschule, Leine, Tierheim, Gebell, Tierarzt, Dackel
cats : roter Kater, Katzenklo, Kratzbaum, Kätzchen, Schnurren, Pappkarton, Katzenhaare, Freigänger
elections : Umfrage, Fernsehduell, Koalition, Briefwahl, Wahlbeteiligung, Wahlkampf, Wahllokal, Stichwahl
economy : Inflation, Leitzins, Mindestlohn, Streik, Zölle, Arbeitslosigkeit, Mieten, Zentralbank
solar : Balkonkraftwerk, Wechselrichter, Stromspeicher, Stromrechnung, Eigenverbrauch, Dach, Solarpark, Einspeisung
weather : Hitzewelle, Gewitter, Dürre, Hagel, Hochwasser, Neuschnee, Sturm, Vorhersage
`;
