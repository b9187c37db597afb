// English words of the generated world: `# topic | angles`, then `sub-topic ~ related topic : terms`. A term is a
// noun phrase that fits the templates of ../post-text.ts without an article. Read by ../lexicon.ts.
export const ENGLISH = `
# sports | what a comeback | the referee got it wrong | match thread and player ratings | the best transfer this season | tactics explained
football ~ fashion : penalty shootout, offside trap, away kit, goalkeeper, midfield press, cup final, striker, free kick, relegation battle, youth academy, derby, wing-back
basketball ~ gaming : three-point line, fast break, point guard, zone defense, playoff series, buzzer beater, pick and roll, rookie season, free throws, draft pick, rebound, bench unit
tennis ~ travel : second serve, clay court, one-handed backhand, tie-break, drop shot, grand slam final, doubles partner, grass season, topspin forehand, racket tension, baseline rally, wildcard
climbing ~ travel : crimp, bouldering gym, finger strength, overhang route, chalk bag, belay device, multi-pitch, climbing shoes, V6 project, trad rack, dyno, hangboard routine
swimming ~ health : flip turn, open water swim, freestyle kick, lane etiquette, breaststroke timing, goggles, swim meet, interval set, catch phase, cold water dip, pull buoy, relay leg
baseball ~ history : curveball, bullpen, double play, batting average, knuckleball, spring training, box score, shortstop, walk-off homer, pitch clock, minor league game, outfield wall
hockey ~ gaming : power play, slap shot, goalie mask, face-off, penalty kill, backyard rink, stick curve, breakaway, line change, overtime winner, skate sharpening, blue line
martial-arts ~ health : rear naked choke, judo throw, blue belt, sparring partner, guard pass, muay thai pads, boxing footwork, kata, takedown defense, hand wraps, open mat, roundhouse kick

# cooking | recipe that never fails | what went wrong here? | ready in thirty minutes | the way my grandmother made it | worth the effort
baking ~ parenting : sourdough starter, rye loaf, croissant dough, banana bread, proofing basket, cinnamon rolls, oven spring, brioche, puff pastry, focaccia, scoring knife, crumb structure
grilling ~ diy : smoked brisket, charcoal grill, pork ribs, dry rub, pellet smoker, reverse sear, burger patties, wood chips, kettle grill, chicken thighs, meat thermometer, tri-tip
vegan ~ climate : tofu scramble, lentil curry, cashew cheese, jackfruit tacos, oat milk, tempeh, chickpea flour, vegan lasagna, nutritional yeast, bean chili, aquafaba, seitan roast
noodles ~ travel : ramen broth, hand-pulled noodles, udon, pad thai, chili oil, soba, pho, carbonara, pasta machine, dan dan noodles, cacio e pepe, lasagna sheets
coffee ~ finance : espresso machine, pour over, burr grinder, flat white, cold brew, light roast, milk foam, moka pot, portafilter, single origin beans, AeroPress recipe, latte art
fermenting ~ health : kimchi, kombucha, sauerkraut, miso paste, pickle brine, kefir grains, hot sauce mash, fermentation crock, sour pickles, koji rice, ginger bug, vinegar mother
desserts ~ art : chocolate mousse, macarons, cheesecake, caramel sauce, ice cream base, lemon tart, tiramisu, panna cotta, meringue, fudge brownies, creme brulee, sugar work
spices ~ history : garam masala, smoked paprika, curry paste, cumin seeds, saffron, mole sauce, cardamom, berbere, spice grinder, harissa, star anise, tandoori marinade

# programming | a deep dive | what we learned in production | and why it matters | benchmarks inside | is it worth it in practice?
typescript ~ art : type inference, generics, strict mode, union types, bundler config, tsconfig, type guards, decorators, monorepo, template literal types, Node runtime, ESM migration
rust ~ space : borrow checker, lifetimes, async runtime, trait objects, cargo workspace, unsafe block, error handling, embedded target, macro system, zero-copy parser, SIMD crate, ownership model
databases ~ finance : query planner, B-tree index, Postgres upgrade, write-ahead log, sharding, connection pool, slow query, replication lag, schema migration, vacuum, SQLite file, isolation level
machine-learning ~ space : transformer model, training loss, fine-tuning run, embeddings, gradient descent, learning rate, overfitting, GPU cluster, feature store, attention layer, vector search, dataset labels
web-dev ~ art : CSS grid, service worker, page speed, React hooks, accessibility audit, dark mode, server rendering, web components, form validation, layout shift, cookie banner, design system
devops ~ politics : Kubernetes cluster, CI pipeline, Docker image, Terraform state, on-call rotation, canary deploy, incident review, load balancer, log retention, Helm chart, rollback plan, uptime dashboard
security ~ politics : phishing attack, buffer overflow, password manager, zero-day exploit, bug bounty, two-factor token, TLS certificate, ransomware, threat model, supply chain attack, penetration test, leaked keys
retro-computing ~ gaming : Commodore 64, floppy drive, assembly routine, BASIC listing, CRT monitor, ROM chip, Amiga demo, serial port, terminal emulator, 8-bit CPU, mainframe, dot matrix printer

# space | new images are stunning | explained simply | live updates | what scientists found | seen from my backyard
rockets ~ diy : Falcon 9, booster landing, methane engine, launch window, heat shield, upper stage, static fire, rocket fairing, reusable rocket, launch pad, orbital refueling, scrubbed launch
astronomy ~ photography : Andromeda galaxy, backyard telescope, Orion nebula, meteor shower, star tracker, light pollution map, globular cluster, lunar eclipse, comet tail, Dobsonian, narrowband filter, Milky Way core
mars ~ history : Perseverance rover, Jezero crater, dust storm, Martian helicopter, sample return, polar ice, Olympus Mons, crewed mission, rover wheels, thin atmosphere, regolith, subsurface water
black-holes ~ space : event horizon, accretion disk, gravitational waves, Hawking radiation, neutron star merger, spacetime curvature, supermassive black hole, quasar, singularity, LIGO detection, galactic center, time dilation
exoplanets ~ climate : transit method, hot Jupiter, habitable zone, James Webb spectrum, red dwarf, super-Earth, biosignature, TRAPPIST system, radial velocity, rogue planet, water vapor, tidally locked planet
satellites ~ programming : CubeSat, orbital debris, ground station, weather satellite, Starlink train, geostationary orbit, solar panel array, ion thruster, space debris, antenna dish, downlink, ride-share launch
iss ~ health : spacewalk, space station module, microgravity experiment, astronaut training, docking port, Soyuz capsule, cupola window, resupply mission, zero-g sleep, crew rotation, robotic arm, life support
moon ~ politics : lunar south pole, Artemis mission, moon base, lunar lander, Apollo footage, crater rim, moon dust, orbital gateway, far side, lunar rover, moon landing, water ice

# music | full album review | live session | how I recorded it | on repeat all week | an underrated gem
guitar ~ diy : fingerstyle arrangement, tube amp, pedalboard, Stratocaster, barre chords, alternate tuning, fuzz pedal, slide solo, acoustic strings, pickup swap, blues lick, palm muting
piano ~ art : Chopin nocturne, left hand stride, weighted keys, sight reading, sustain pedal, jazz voicings, Bach invention, upright piano, scales practice, ragtime, Debussy prelude, piano tuner
electronic ~ programming : modular synth, drum machine, acid bassline, sidechain compression, techno set, ambient pad, sampler, vinyl mix, sequencer, warehouse rave, filter sweep, 909 kick
hip-hop ~ fashion : boom bap beat, freestyle, sample flip, mixtape, rap verse, turntable scratch, producer tag, double-time flow, trap hi-hats, debut album, cypher, punchline
classical ~ history : string quartet, Mahler symphony, opera premiere, cello suite, conductor, baroque ensemble, violin concerto, orchestra tour, chamber music, Beethoven sonata, oboe solo, requiem
metal ~ art : blast beat, growl vocals, seven-string riff, doom album, mosh pit, black metal demo, breakdown, drop tuning, concept album, tremolo picking, thrash band, festival lineup
vinyl ~ finance : first pressing, turntable cartridge, record store, box set, gatefold sleeve, phono preamp, crate digging, belt drive, limited reissue, needle alignment, 45 single, record cleaning
singing ~ health : vocal warm-up, head voice, breath support, choir rehearsal, harmony part, falsetto, vibrato, karaoke night, voice lesson, a cappella group, mixed belt, sore throat

# gardening | before and after | help me identify this | a beginner's diary | harvest day | what finally worked
vegetables ~ cooking : heirloom tomatoes, raised bed, zucchini, seed starting, garlic harvest, pepper seedlings, cucumber trellis, potato tower, crop rotation, winter kale, pole beans, blossom end rot
houseplants ~ fashion : monstera, pothos cutting, fiddle leaf fig, grow light, root rot, snake plant, propagation jar, spider mites, calathea, self-watering pot, philodendron, repotting day
roses ~ art : climbing rose, black spot, rose hips, bare-root rose, deadheading, David Austin shrub, thorny canes, aphid attack, hybrid tea, pruning cut, rose arbor, floribunda
compost ~ climate : worm bin, leaf mold, compost heap, kitchen scraps, hot compost, brown layer, bokashi bucket, finished compost, wood chips pile, aeration, compost tumbler, mulch
trees ~ diy : apple grafting, bonsai, Japanese maple, fruit tree pruning, oak sapling, fig cutting, espalier, pear blossom, bark beetle, tree guard, root flare, cherry orchard
native-plants ~ climate : pollinator bed, milkweed, wildflower meadow, prairie grass, coneflower, butterfly host plant, seed bombs, lawn conversion, goldenrod, rain garden, bumblebee, invasive ivy
hydroponics ~ programming : nutrient solution, pH drift, lettuce tower, air stone, deep water culture, LED panel, net pots, drip system, reservoir, microgreens, root zone, timer schedule
lawn ~ cars : dandelions, overseeding, reel mower, crabgrass, lawn aeration, bare patch, sprinkler zone, grub damage, clover lawn, mowing height, soil test, thatch

# travel | a three-day itinerary | what I wish I had known | on a small budget | hidden gems only | is it safe to go alone?
backpacking ~ running : hostel dorm, carry-on pack, night bus, packing list, border crossing, travel towel, solo trip, trekking poles, train pass, budget route, hitchhiking, island ferry
hiking ~ photography : ridge trail, trail runners, mountain hut, water filter, switchbacks, national park permit, summit sunrise, tent site, trail map, alpine lake, scree slope, thru-hike
japan ~ history : Kyoto temple, rail pass, capsule hotel, cherry blossoms, onsen, convenience store lunch, Osaka street food, tatami room, Hokkaido snow, shrine gate, bullet train, ryokan
italy ~ cooking : Amalfi coast, Roman ruins, Tuscan villa, gelato stop, Venice canals, Dolomites road, Sicilian market, Florence museum, espresso bar, Vespa rental, agriturismo, Cinque Terre
road-trips ~ cars : desert highway, camper van, motel sign, scenic byway, roof rack, coastal route, playlist, gas station snacks, canyon overlook, rest stop, van conversion, ghost town
beaches ~ photography : snorkel spot, coral reef, beach bungalow, sunset bar, surf lesson, palm trees, turquoise lagoon, sandbar, sea turtle, hammock, diving course, tide pools
digital-nomads ~ programming : coworking space, remote visa, time zone, coliving house, SIM card, tax residency, laptop stand, Lisbon rental, cafe wifi, slow travel, client call, Chiang Mai
flights ~ finance : layover, airline miles, lounge access, error fare, jet lag, window seat, lost baggage, red-eye flight, upgrade bid, budget airline, boarding pass, delayed connection

# finance | explained with numbers | am I doing this right? | lessons from ten years | a spreadsheet you can copy | what the data says
investing ~ space : index fund, dividend yield, bond ladder, market correction, expense ratio, rebalancing, growth stocks, portfolio review, dollar-cost averaging, small caps, total return, price-earnings ratio
crypto ~ programming : Bitcoin wallet, hardware key, gas fees, stablecoin, seed phrase, proof of stake, exchange hack, smart contract, halving, mining rig, Lightning channel, altcoin
budgeting ~ parenting : emergency fund, grocery budget, envelope method, sinking fund, no-spend month, side income, subscription audit, meal plan, savings rate, cash back card, debt snowball, paycheck
real-estate ~ diy : mortgage rate, open house, rental yield, home inspection, closing costs, down payment, fixer-upper, property tax, duplex, landlord insurance, appraisal, bidding war
retirement ~ health : pension plan, early retirement, withdrawal rate, Roth account, social security, annuity, target date fund, healthcare gap, catch-up contribution, retirement age, coast number, sequence risk
startups ~ programming : seed round, pitch deck, product market fit, co-founder, burn rate, term sheet, first customer, bootstrapped company, equity split, churn, accelerator, runway
taxes ~ politics : tax return, deduction, capital gains, audit letter, estimated payment, tax bracket, home office, refund, W-2 form, loss harvesting, sales tax, filing deadline
trading ~ gaming : options chain, stop loss, chart pattern, short squeeze, day trader, candlestick, margin call, earnings play, covered call, volatility index, paper account, swing trade

# gaming | spoiler-free review | hidden secrets you missed | patch notes discussed | a speedrun story | tips for new players
rpg ~ art : side quest, skill tree, party member, final boss, character build, dialogue choice, loot table, open world map, turn-based combat, new game plus, dungeon, mage class
strategy ~ history : tech tree, city builder, hex map, supply line, late game, early rush, grand campaign, fog of war, diplomacy screen, settler start, siege unit, wonder victory
shooters ~ sports : headshot, sniper scope, ranked match, battle royale, aim trainer, recoil pattern, respawn timer, loadout, capture point, clutch round, spray control, killcam
indie ~ art : pixel art game, metroidvania, solo developer, cozy farm sim, roguelike run, demo festival, hand-drawn world, game jam, narrative puzzle, early access, chiptune score, platformer
board-games ~ parenting : worker placement, deck builder, dice tower, meeple, cooperative campaign, game night, rulebook, expansion box, victory points, hidden traitor, tile laying, solo mode
nintendo ~ movies : Zelda shrine, Mario Kart track, Switch cartridge, Pokemon team, Animal Crossing island, Joy-Con drift, Smash tournament, Metroid map, amiibo, Kirby copy ability, Game Boy, Splatoon match
pc-builds ~ programming : graphics card, water loop, mechanical keyboard, thermal paste, cable management, SSD upgrade, power supply, case fans, ultrawide monitor, overclock, mini-ITX case, boot loop
esports ~ sports : grand finals, draft phase, pro roster, caster desk, LAN event, bracket upset, support main, meta shift, team fight, coach interview, lower bracket run, world championship

# movies | no spoilers please | the ending explained | ten years later | director's commentary | better than the book?
horror ~ books : slasher, jump scare, haunted house, found footage, final girl, body horror, demonic doll, zombie outbreak, folk horror, creature effects, cursed tape, midnight screening
sci-fi ~ space : Blade Runner, time loop, alien contact, space opera, dystopia, android, cyberpunk city, parallel universe, Dune, starship set, practical model, first contact
animation ~ art : Studio Ghibli, Pixar short, stop motion, anime series, storyboard, voice actor, hand-drawn frame, Spirited Away, background painting, animated feature, character design, cel
documentary ~ history : archive footage, true crime series, nature documentary, interview subject, narrator, film crew, whistleblower, ocean episode, concert film, investigative team, festival premiere, cold case
classics ~ history : film noir, silent comedy, Hitchcock, Casablanca, black and white print, western, screwball comedy, Technicolor restoration, Kurosawa, matinee, monologue, studio era
tv-series ~ books : season finale, pilot episode, cliffhanger, showrunner, binge weekend, spin-off, sitcom, limited series, plot hole, recast, bottle episode, streaming release
filmmaking ~ photography : dolly shot, color grading, boom mic, short film, lens flare, screenplay draft, film festival, location scout, continuity error, gimbal, jump cut, lighting kit
superheroes ~ gaming : origin story, post-credits scene, Batman suit, Marvel phase, comic accuracy, villain arc, cape, multiverse, Spider-Man, team-up, director's cut, Justice League

# health | what the studies say | my doctor was surprised | thirty days later | small habit, big change | does anyone else feel this?
sleep ~ parenting : insomnia, sleep apnea mask, blue light, nap schedule, melatonin, REM cycle, blackout curtain, snoring, sleep tracker, night shift, bedtime routine, weighted blanket
nutrition ~ cooking : protein intake, fiber, omega-3, blood sugar, meal prep, vitamin D, gut bacteria, calorie deficit, electrolytes, iron levels, Mediterranean diet, ultra-processed food
strength ~ sports : deadlift, squat form, barbell row, progressive overload, pull-up, kettlebell swing, home gym, rest day, bench press plateau, grip strength, creatine, deload week
mental-health ~ parenting : anxiety, therapy session, burnout, journaling, panic attack, social battery, grief, self-compassion, screen break, ADHD diagnosis, support group, seasonal mood
yoga ~ art : sun salutation, pigeon pose, yoga mat, breathwork, headstand, hip mobility, restorative class, yin session, hamstring stretch, meditation, teacher training, downward dog
dental ~ finance : wisdom tooth, root canal, night guard, dental implant, gum recession, floss, braces, enamel, whitening strip, tooth sensitivity, crown, retainer
allergies ~ pets : pollen count, peanut allergy, antihistamine, hay fever, EpiPen, dust mites, air purifier, gluten test, allergy shots, cat dander, hives, elimination diet
medicine ~ space : clinical trial, vaccine, MRI scan, antibiotic resistance, emergency room, gene therapy, blood test, placebo effect, residency, surgical robot, insulin pump, rare disease

# politics | what happens next? | the vote explained | fact check | a view from abroad | who benefits?
elections ~ history : swing district, ballot paper, exit poll, turnout, primary debate, mail-in vote, coalition talks, runoff, campaign ad, recount, polling error, town hall
city-planning ~ cycling : zoning reform, bike lane, bus network, parking minimum, housing density, tram line, walkable street, public square, congestion charge, transit stop, traffic calming, skyline
law ~ books : supreme court, class action, appeal, constitutional clause, jury duty, patent case, privacy ruling, public defender, antitrust suit, plea deal, copyright claim, legal brief
economy ~ finance : inflation report, central bank, interest rate, trade deficit, minimum wage, unemployment figures, tariff, supply chain, recession risk, stimulus plan, wage growth, strike
geopolitics ~ history : border dispute, peace talks, sanctions, alliance summit, embassy, ceasefire, arms treaty, shipping lane, foreign minister, refugee route, energy pipeline, annexation
education ~ parenting : school funding, teacher pay, student loan, curriculum, standardized test, charter school, class size, tuition, phone ban, university ranking, school lunch, literacy rate
media ~ movies : press freedom, local newspaper, fact checker, misinformation, paywall, talk radio, anonymous source, public broadcaster, headline, press briefing, op-ed, podcast host
labor ~ finance : union vote, gig workers, four-day week, overtime rule, collective bargaining, picket line, remote work, sick leave, layoffs, warehouse shift, safety inspection, apprenticeship

# photography | shot on film | critique welcome | how I edited it | golden hour | my best frame this year
landscape ~ travel : long exposure, waterfall, ND filter, mountain reflection, foggy valley, blue hour, tripod, foreground rocks, autumn forest, panorama stitch, sea stack, snow peak
portrait ~ fashion : natural light, softbox, 85mm lens, catchlight, shallow depth, studio backdrop, candid smile, rim light, headshot session, skin tones, beauty dish, family portrait
street ~ art : Leica, crosswalk shadow, neon sign, zone focusing, silhouette, subway platform, rainy window, decisive moment, market stall, umbrella, reflections, stranger
wildlife ~ pets : telephoto lens, kingfisher, fox cub, bird hide, eagle in flight, deer rut, shutter speed, owl, burst mode, otter, puffin, camouflage blind
film-cameras ~ art : Portra 400, medium format, light meter, darkroom print, Tri-X, rangefinder, grain, point and shoot, film scanner, expired roll, light leak, contact sheet
macro ~ gardening : dew drop, jumping spider, focus stack, extension tube, dragonfly wing, ring flash, mushroom gills, water droplet, snowflake, bee, magnification, petal
drones ~ politics : aerial shot, no-fly zone, battery life, gimbal drift, top-down coastline, FPV quad, geofence, propeller, hyperlapse, firmware update, flight permit, crash landing
editing ~ programming : Lightroom preset, tone curve, color profile, raw file, noise reduction, dodge and burn, sky replacement, histogram, masking, black and white conversion, export settings, calibration

# parenting | any advice? | we survived | what actually helped | proud moment | the honest version
babies ~ health : sleep regression, baby carrier, teething, first smile, stroller, swaddle, colic, night feed, tummy time, pacifier, diaper rash, baby monitor
toddlers ~ pets : tantrum, potty training, picky eater, nap strike, sippy cup, bedtime story, toddler bed, playdough, car seat, screaming phase, finger paint, first words
teens ~ gaming : screen time, curfew, first phone, driving lesson, exam stress, messy room, part-time job, group chat, eye roll, college visit, allowance, prom
homeschool ~ books : lesson plan, math workbook, co-op day, phonics, science kit, nature walk, reading list, spelling bee, field trip, unit study, library card, learning style
pregnancy ~ health : morning sickness, due date, ultrasound, birth plan, third trimester, prenatal vitamin, midwife, hospital bag, baby shower, nursery, gender reveal, contractions
family-activities ~ travel : treasure hunt, camping weekend, zoo trip, rainy day craft, pillow fort, puppet show, picnic, beach day, museum visit, bike ride, movie night, snow day
school-lunch ~ cooking : bento box, sandwich cutter, fruit skewers, snack drawer, thermos soup, nut-free snack, lunch bag, leftover pasta, veggie dip, muffin tin, picky lunch, smoothie
adoption ~ politics : foster care, home study, social worker, birth family, sibling group, court date, kinship placement, waiting list, open adoption, welcome home, bonding, life book

# pets | he does this every day | is this normal? | rescue story | photo inside | vet bill warning
dogs ~ running : golden retriever, leash training, puppy teeth, dog park, recall command, shelter dog, crate, tail wag, muddy paws, agility course, husky howl, chew toy
cats ~ movies : orange cat, litter box, scratching post, kitten, cat tree, purring, laser pointer, cardboard box, hairball, senior cat, cat flap, feral colony
birds ~ photography : parrot, budgie, bird cage, cockatiel whistle, foraging toy, feather plucking, macaw, finch pair, bird feeder, perch, lovebird, hand taming
aquariums ~ space : planted tank, betta, nitrogen cycle, shrimp colony, canister filter, reef tank, algae bloom, guppy fry, driftwood, CO2 system, angelfish, quarantine tank
reptiles ~ space : bearded dragon, ball python, heat lamp, terrarium, shed skin, gecko, tortoise, feeder insects, UVB bulb, chameleon, basking spot, bioactive setup
horses ~ sports : dressage test, saddle fit, hoof care, trail ride, foal, lunging, jumping lesson, hay net, bridle, barn chores, canter, paddock
small-pets ~ parenting : hamster wheel, guinea pig, rabbit hutch, chinchilla dust bath, rat cage, timothy hay, hedgehog, burrow, ferret, gerbil tunnel, bunny binky, chew stick
backyard-chickens ~ gardening : chicken coop, rooster, egg basket, broody hen, chicks, molting, feed bin, fox proofing, nest box, heritage breed, quail, dust bath

# books | a quiet masterpiece | halfway through and hooked | reading group questions | unpopular opinion | what should I read next?
fantasy ~ gaming : magic system, dragon rider, epic trilogy, chosen one, Tolkien, worldbuilding, grimdark, map on page one, wizard school, sword oath, elven court, prophecy
mystery ~ movies : locked room, detective, red herring, Agatha Christie, cozy mystery, unreliable narrator, cold trail, whodunit, inspector, noir novel, twist ending, alibi
literary ~ art : debut novel, stream of consciousness, Booker shortlist, family saga, Virginia Woolf, short story, translated fiction, prose style, metafiction, character study, novella, essay
non-fiction ~ space : biography, memoir, popular science book, economics book, footnotes, oral history, essay collection, self-help shelf, travelogue, investigative book, letters, field guide
poetry ~ music : sonnet, haiku, free verse, slam poem, spoken word, Emily Dickinson, anthology, line break, chapbook, elegy, rhyme scheme, Neruda
romance ~ fashion : slow burn, enemies to lovers, regency ball, love triangle, small town romance, happily ever after, fake dating, duke, second chance, meet-cute, book boyfriend, rom-com
scifi-novels ~ space : generation ship, Asimov, hard science fiction, Le Guin, robot uprising, first contact novel, Hugo winner, terraforming, space station novel, time paradox, clone, dying earth
book-collecting ~ finance : first edition, dust jacket, signed copy, used bookstore, leather binding, marginalia, library sale, slipcase, bookplate, rare print, shelf tour, foxing

# cars | dyno results | is this a fair price? | owner's review after a year | garage update | spotted today
electric-cars ~ climate : fast charger, range anxiety, battery pack, Tesla, regenerative braking, home charger, heat pump, lease deal, one-pedal driving, winter range, charging curve, solid-state cell
classic-cars ~ history : chrome bumper, carburetor, barn find, Mustang, restoration shop, matching numbers, wood trim, Beetle, roadster, car show, patina, whitewall tires
racing ~ sports : qualifying lap, pit stop, Formula 1, safety car, tire strategy, karting, rally stage, apex, downforce, Le Mans, track day, undercut
repair ~ diy : brake pads, timing belt, oil leak, check engine light, torque wrench, head gasket, alternator, rusty bolt, jack stands, spark plugs, wheel bearing, compression test
trucks ~ diy : tow hitch, bed liner, diesel engine, lift kit, pickup, payload, tailgate, four-wheel drive, snow plow, winch, crew cab, mud tires
detailing ~ art : clay bar, ceramic coating, swirl marks, microfiber towel, wax, foam cannon, leather cleaner, polish, headlight restoration, two-bucket wash, water spots, tire shine
motorcycles ~ travel : cafe racer, chain lube, riding gear, adventure bike, helmet, clutch, twisty road, naked bike, panniers, scooter, lane filtering, first bike
car-design ~ art : concept car, grille, dashboard screen, clay model, coupe silhouette, panel gap, wheel arch, color option, facelift, cabin layout, aerodynamics, retro styling

# history | the story behind it | primary source inside | what textbooks leave out | a map that explains it | myth or fact?
ancient-rome ~ politics : Roman legion, aqueduct, Colosseum, Julius Caesar, Pompeii fresco, senate, gladiator, Hadrian's Wall, Latin inscription, triumph, toga, Punic War
medieval ~ art : castle siege, knight, illuminated manuscript, plague year, crusade, feudal lord, cathedral, longbow, Viking ship, chain mail, monastery, guild
world-wars ~ politics : D-Day, trench, codebreaker, U-boat, Spitfire, resistance cell, armistice, Enigma machine, ration book, war diary, bunker, convoy
archaeology ~ space : burial mound, pottery shard, carbon dating, excavation, stone tool, cave painting, shipwreck, Egyptian tomb, Neolithic site, bronze hoard, mosaic, skeleton
industrial-age ~ cars : steam engine, cotton mill, railway, coal mine, telegraph, factory whistle, patent office, canal lock, iron bridge, gas lamp, world fair, assembly line
maps ~ travel : old atlas, sea chart, compass rose, border line, land survey, phantom island, globe, trade route, cartographer, projection, treasure map, street plan
cold-war ~ space : Berlin Wall, missile crisis, spy swap, space race, double agent, fallout shelter, Iron Curtain, defector, U-2 plane, proxy war, summit, propaganda poster
genealogy ~ parenting : family tree, census record, DNA match, immigrant ship, parish register, great-grandfather, surname, old photograph, gravestone, brick wall, cousin, adoption record

# art | work in progress | study from life | a process video | my first exhibition | feedback wanted
painting ~ history : oil glaze, canvas, palette knife, still life, underpainting, Vermeer, gouache, plein air, brush stroke, impasto, portrait commission, varnish
drawing ~ movies : gesture drawing, charcoal, sketchbook page, perspective grid, figure study, ink wash, hatching, anatomy, pencil portrait, ballpoint pen, negative space, eraser
digital-art ~ gaming : tablet, layer mask, brush pack, concept art, character sheet, speed paint, vector illustration, 3D sculpt, Blender render, pixel sprite, color palette, stylus
ceramics ~ diy : pottery wheel, glaze recipe, kiln, raku, stoneware mug, slip, bisque, hand-built vase, celadon, trimming, porcelain, throwing clay
museums ~ travel : Louvre, permanent collection, curator, impressionist room, audio guide, sculpture garden, retrospective, museum shop, contemporary wing, free entry, restoration lab, gallery
street-art ~ politics : mural, spray can, stencil, paste-up, graffiti wall, Banksy, alley, tag, lettering, rooftop piece, festival wall, wheatpaste
calligraphy ~ books : nib, copperplate, brush pen, gothic script, ink bottle, flourish, letter spacing, addressed envelope, parchment, italic hand, signage, guideline
textile-art ~ fashion : loom, natural dye, embroidery hoop, quilt block, indigo vat, macrame, felt, tapestry, cross stitch, patchwork, hand-spun yarn, weaving

# cycling | ride report | is it overkill? | new personal best | how much does it matter? | weekend loop
road-bikes ~ sports : carbon frame, climbing gear, group ride, power meter, tubeless tire, aero bars, century ride, bike fit, crosswind, cadence, drop bars, Tour de France
mountain-bikes ~ travel : singletrack, dropper post, full suspension, rock garden, bike park, berm, hardtail, flow trail, enduro race, jump line, chain guide, trail center
commuting ~ climate : bike lane commute, panniers, fenders, rain jacket, folding bike, bike theft, cargo bike, bike light, office shower, traffic light, lock, winter commute
bike-repair ~ diy : derailleur, bottom bracket, true wheel, chain wear, brake bleed, headset creak, patch kit, cable housing, torque spec, freehub, spoke key, bent hanger
bikepacking ~ travel : frame bag, gravel route, bivvy, dynamo hub, GPS track, camp stove, mountain pass, resupply town, saddle bag, overnighter, washboard road, ferry crossing
e-bikes ~ cars : mid-drive motor, pedal assist, battery range, throttle, hub motor, step-through frame, speed limit, charger, cargo e-bike, torque sensor, conversion kit, hill start
triathlon ~ running : transition zone, wetsuit, brick workout, Ironman, swim leg, race nutrition, tri suit, age group, taper week, half distance, aero helmet, finish chute
bike-culture ~ fashion : fixie, critical mass, jersey, steel frame, espresso ride, alleycat, cycling cap, vintage Bianchi, bike polo, custom paint, messenger bag, velodrome

# climate | the chart is worrying | good news for once | what can one person do? | the science in five minutes | a local success
solar ~ diy : rooftop panels, inverter, net metering, solar farm, battery storage, payback time, shade study, microinverter, perovskite cell, community solar, feed-in tariff, off-grid cabin
wind ~ space : offshore turbine, wind farm, blade recycling, capacity factor, grid connection, floating platform, gearbox, turbine noise, wake effect, hub height, transmission line, curtailment
oceans ~ space : coral bleaching, sea level, plastic gyre, kelp forest, overfishing, marine reserve, acidification, whale migration, mangrove, ocean current, seagrass, deep-sea mining
weather ~ space : heat wave, atmospheric river, hurricane track, tornado warning, El Nino, jet stream, flash flood, drought map, hailstorm, snowfall record, lightning strike, barometer
zero-waste ~ cooking : refill shop, reusable bag, food waste, repair cafe, beeswax wrap, bulk bin, plastic-free bathroom, secondhand find, bamboo brush, packaging, deposit bottle, landfill
carbon ~ politics : carbon tax, offset market, direct air capture, emissions report, net zero pledge, cap and trade, methane leak, cement plant, carbon budget, biochar, footprint, permit price
forests ~ gardening : reforestation, wildfire, old-growth, rainforest, logging permit, peat bog, canopy, controlled burn, seed bank, rewilding, beaver dam, wolf pack
green-building ~ diy : passive house, heat pump retrofit, triple glazing, straw bale, insulation, green roof, energy audit, timber frame, cool roof, rainwater tank, air tightness, smart thermostat

# fashion | outfit of the day | fit check | dupe or original? | how to style it | cost per wear
sneakers ~ sports : Air Jordan, limited drop, colorway, deadstock pair, sole swap, retro release, laces, suede, resell price, running shoe trend, box collection, canvas sneakers
streetwear ~ music : oversized hoodie, graphic tee, cargo pants, bucket hat, capsule collection, varsity jacket, thrift flip, logo, beanie, bomber, skate brand, layering
sewing ~ diy : sewing pattern, serger, zipper, linen dress, seam allowance, muslin, buttonhole, overlocker, bias binding, fabric stash, hem, dart
vintage ~ history : 1950s dress, thrift store, leather jacket, brooch, denim, mod style, flea market, tweed coat, silk scarf, estate sale, corset, platform shoes
watches ~ finance : dive watch, automatic movement, Rolex, leather strap, chronograph, Seiko, bezel, power reserve, field watch, Grand Seiko, dress watch, lume
skincare ~ health : retinol, sunscreen, moisturizer, acne, vitamin C serum, double cleanse, niacinamide, sheet mask, skin barrier, exfoliant, dark circles, K-beauty routine
jewelry ~ art : engagement ring, silver casting, pearl necklace, gemstone, wire wrap, goldsmith, sapphire, signet ring, enamel pin, earrings, lab diamond, hallmark
menswear ~ politics : tailored suit, oxford shirt, tie knot, brogues, raw denim, chinos, wool coat, pocket square, loafers, cufflinks, knit polo, tuxedo

# diy | finished at last | how would you fix it? | total cost inside | step by step | don't do what I did
woodworking ~ art : dovetail joint, workbench, table saw, hand plane, walnut slab, chisel, epoxy river, wood finish, cutting board, mortise, clamps, plywood cabinet
electronics ~ programming : Arduino, soldering iron, circuit board, Raspberry Pi, oscilloscope, LED strip, sensor, ESP32, multimeter, battery pack build, logic analyzer, motor driver
3d-printing ~ art : bed leveling, filament, resin print, PETG, stringing, nozzle clog, support material, print farm, layer shift, benchy, extruder, functional print
home-repair ~ finance : leaky faucet, drywall patch, tile grout, water heater, squeaky floor, gutter, breaker panel, door hinge, toilet flange, attic insulation, paint roller, mold
metalworking ~ cars : MIG weld, lathe, knife forge, angle grinder, anvil, milling machine, steel stock, heat treat, plasma cutter, damascus, file work, vise
knitting ~ fashion : cable sweater, merino yarn, double-pointed needles, sock heel, stitch marker, colorwork, shawl, crochet blanket, gauge swatch, yarn stash, granny square, cast-on
upcycling ~ climate : pallet bench, old dresser, mason jar, chalk paint, scrap wood, tin can lamp, vintage suitcase, denim quilt, bottle cutter, curb find, wine crate, broken chair
smart-home ~ programming : Home Assistant, Zigbee bulb, motion sensor, smart lock, thermostat schedule, voice assistant, smart plug, doorbell camera, automation, mesh wifi, blinds motor, presence detection

# running | race recap | slower but happier | training week in review | is my plan too much? | finally under the goal
marathon ~ travel : long run, taper, negative split, marathon pace, Boston qualifier, wall at mile 20, finish line, carb loading, energy gel, race bib, pacer, medal
trail-running ~ travel : ultramarathon, trail shoes, elevation gain, aid station, hydration vest, technical descent, headlamp, mountain race, muddy loop, poles, night section, cutoff time
injuries ~ health : shin splints, runner's knee, plantar fasciitis, Achilles tendon, physio exercise, foam roller, stress fracture, IT band, ice bath, return to running, ankle sprain, hip flexor
beginners ~ parenting : couch to 5k, walk breaks, first 5k, easy pace, running plan, parkrun, side stitch, breathing rhythm, morning run, treadmill, rest week, couch potato
track ~ sports : interval session, 800 meters, spikes, relay baton, sprint start, mile record, hurdle, lactate threshold, 400 repeats, cooldown, starting gun, lane draw
gear ~ finance : carbon plate shoe, GPS watch, running socks, heart rate strap, running vest, shoe rotation, foam midsole, bone conduction headphones, reflective vest, rain shell, split shorts, stack height
treadmills ~ gaming : incline, running pad, desk treadmill, motor noise, zone 2 session, virtual race, belt speed, gym etiquette, pace conversion, TV setup, humidity, fan
running-clubs ~ cooking : group run, club vest, pub run, relay team, coffee stop, run leader, social pace, city loop, track night, club championship, headcount, post-run brunch
`;
