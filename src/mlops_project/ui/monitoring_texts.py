"""Every sentence of the Monitoring page, in English and Brazilian Portuguese; part of ``texts.TEXTS``."""

MONITORING_TEXTS: dict[str, tuple[str, str]] = {
    "page.monitoring": ("Monitoring", "Monitoramento"),
    "monitoring.lead": (
        "Is **{model}** still what it was when it was judged?",
        "**{model}** ainda é o que era quando foi avaliado?",
    ),
    "window": (
        "Version {version}, window {start} to {end} UTC, evaluated {at}.",
        "Versão {version}, janela de {start} a {end} UTC, avaliada {at}.",
    ),
    "window.other": (
        "Version {now} answers now; its first window is not full yet.",
        "A versão {now} responde agora; sua primeira janela ainda não está completa.",
    ),
    # verdict
    "verdict.none": ("Nothing has been evaluated yet.", "Nada foi avaliado ainda."),
    "verdict.quiet": ("All is quiet.", "Tudo calmo."),
    "verdict.changed": ("This window differs: {what}.", "Esta janela difere: {what}."),
    "verdict.alert": ("Alert: {what}.", "Alerta: {what}."),
    "verdict.stale": (
        "No window has been evaluated since {at} UTC, so this is old news.",
        "Nenhuma janela foi avaliada desde {at} UTC; isto já é antigo.",
    ),
    "stale.cure": (
        "Either `mlops monitor` does not run, or fewer than {rows} predictions came: smaller windows wait.",
        "Ou `mlops monitor` não está rodando, ou houve menos de {rows} previsões: janelas menores esperam.",
    ),
    "none.cure": (
        "No monitor is known to run here. Start one beside the model server; `mlops up` does so by itself:",
        "Nenhum monitor em execução é conhecido aqui. Inicie um ao lado do servidor de modelos; `mlops up` já o faz:",
    ),
    "next.none": (
        "The monitor runs, and has read no prediction yet. Predictions reach it up to {log} s after they were made.",
        "O monitor está rodando e ainda não leu nenhuma previsão. As previsões chegam a ele até {log} s depois de feitas.",
    ),
    "next.begun": (
        "The monitor runs. The window of version {version} began {start} UTC; predictions read so far: {rows}.",
        "O monitor está rodando. A janela da versão {version} começou {start} UTC; previsões lidas até agora: {rows}.",
    ),
    "next.open": (
        "It waits for {missing} more ({needed} are needed), then the verdict comes.",
        "Ela espera mais {missing} (são necessárias {needed}); depois sai o veredito.",
    ),
    "next.verdict": ("Its verdict comes by {at} UTC.", "Seu veredito sai até {at} UTC."),
    "none.log": (
        "`prediction_log.enabled` is `false`, so what is answered is not kept and cannot be watched. Set it to `true`.",
        "`prediction_log.enabled` é `false`: o que é respondido não é guardado e não pode ser observado. Mude para `true`.",
    ),
    "none.window": (
        "A window is {minutes} minutes long and has at least {rows} predictions; a smaller one waits for the next. "
        "The first verdict comes up to {log} s after the end of the first window.",
        "Uma janela tem {minutes} minutos e pelo menos {rows} previsões; uma menor espera a seguinte. "
        "O primeiro veredito sai até {log} s após o fim da primeira janela.",
    ),
    "none.rows": ("It also ends after {rows} predictions.", "Ela também termina após {rows} previsões."),
    "alert.performance-loss": ("the model lost performance", "o modelo perdeu desempenho"),
    "alert.estimated-loss": ("the model probably lost performance", "o modelo provavelmente perdeu desempenho"),
    "alert.data-drift": ("the inputs changed", "as entradas mudaram"),
    "alert.prediction-drift": ("the predictions changed", "as previsões mudaram"),
    "alert.data-quality": ("the data is faulty", "os dados têm defeitos"),
    "no.longer": ("no longer so", "não é mais assim"),
    "firing": ("since {since} UTC, windows in a row: {windows}", "desde {since} UTC, janelas seguidas: {windows}"),
    "pending": (
        "{windows} of {needed} windows in a row, not an alert yet",
        "{windows} de {needed} janelas seguidas, ainda não é um alerta",
    ),
    "step.performance-loss": (
        "Look below at what changed first. If it began with this version, `mlops rollback`; else `mlops retrain`.",
        "Veja abaixo o que mudou primeiro. Se começou com esta versão, `mlops rollback`; senão, `mlops retrain`.",
    ),
    "step.estimated-loss": (
        "An estimate is no measurement: send the labels of some of these predictions to `POST /feedback`.",
        "Uma estimativa não é uma medida: envie os rótulos de algumas destas previsões para `POST /feedback`.",
    ),
    "step.data-drift": (
        "Is the change real, or a fault on the way? If it is real, `mlops retrain` learns from the labelled predictions.",
        "A mudança é real ou um defeito no caminho? Se é real, `mlops retrain` aprende com as previsões rotuladas.",
    ),
    "step.prediction-drift": (
        "Look at the inputs that changed; if none did, at the version.",
        "Veja as entradas que mudaram; se nenhuma mudou, a versão.",
    ),
    "step.data-quality": (
        "Mend the source of these values; a retraining would learn the fault.",
        "Corrija a origem destes valores; um retreino aprenderia o defeito.",
    ),
    "retraining.runs": ("A retraining is running.", "Um retreino está em andamento."),
    "monitor.down": ("The monitor cannot be asked. {reason}", "O monitor não pode ser consultado. {reason}"),
    "monitor.problem": ("The monitor reports: {subject}: {reason}", "O monitor informa: {subject}: {reason}"),
    "report.open": ("Full report", "Relatório completo"),
    "report.download": ("Download the report", "Baixar o relatório"),
    # metrics
    "window.rows": ("Predictions", "Previsões"),
    "window.rows.span": ("in {time}", "em {time}"),
    "window.rows.help": ("In the newest window; shadows do not count.", "Na janela mais recente; sombras não contam."),
    "share": ("Changed, by importance", "Mudou, por importância"),
    "share.help": (
        "The features that changed hold this share of the model's importance; from {limit} on the inputs count as drifted.",
        "Os atributos que mudaram detêm esta parcela da importância do modelo; a partir de {limit} as entradas desviaram.",
    ),
    "share.count": ("{changed} of {all} features", "{changed} de {all} atributos"),
    "domain": ("Told from the reference", "Distinta da referência"),
    "domain.help": (
        "AUC of a classifier that tells the window's rows from the reference: 0.5 if it cannot, and chance reaches {limit}. "
        "It sees changes between features that no single one shows.",
        "AUC de um classificador que distingue as linhas da janela das de referência: 0,5 se não consegue; o acaso chega a "
        "{limit}. Vê mudanças entre atributos que nenhum mostra sozinho.",
    ),
    "domain.limit": ("chance reaches {limit}", "o acaso chega a {limit}"),
    "faulty": ("Faulty features", "Atributos com defeito"),
    "faulty.all": ("of {all}", "de {all}"),
    "faulty.help": (
        "More values missing, unknown to the model or out of its range than in the reference.",
        "Mais valores ausentes, desconhecidos do modelo ou fora da sua faixa do que na referência.",
    ),
    "live": ("from labels", "com rótulos"),
    "estimated": ("estimated", "estimada"),
    "metric.of": ("{metric}, {source}", "{metric}, {source}"),
    "metric.help": (
        "95% interval {low} to {high}, from {rows} rows; {reference} on the held-out rows.",
        "Intervalo de 95% de {low} a {high}, de {rows} linhas; {reference} nas linhas separadas.",
    ),
    "metric.bounds": ("{low} to {high}", "{low} a {high}"),
    "metric.none.live": (
        "Too few labels: send them to POST /feedback.",
        "Poucos rótulos: envie-os para POST /feedback.",
    ),
    "metric.none.estimated": (
        "This model's reference does not allow an estimate.",
        "A referência deste modelo não permite uma estimativa.",
    ),
    "labels": ("Labels", "Rótulos"),
    "labels.help": (
        "Share of the predictions with a label, among those as old as they; median time until it came.",
        "Parcela das previsões com rótulo, entre as de mesma idade; tempo mediano até ele chegar.",
    ),
    "labels.delay": ("after {delay}", "após {delay}"),
    # over time
    "over.time": ("Over time", "Ao longo do tempo"),
    "metric.time": (
        "**{metric}** with 95% intervals; grey: held-out rows",
        "**{metric}** com intervalos de 95%; cinza: linhas separadas",
    ),
    "share.time": (
        "**Importance of the features that changed**; orange: too much",
        "**Importância dos atributos que mudaram**; laranja: demais",
    ),
    "tolerated.share": ("from here on a window counts as drifted", "a partir daqui a janela conta como desviada"),
    "metric.time.none": (
        "No window has a value yet: labels are too few, and no estimate is possible.",
        "Nenhuma janela tem valor ainda: há poucos rótulos e nenhuma estimativa é possível.",
    ),
    "held.out": ("held-out rows", "linhas separadas"),
    "mark.promoted": ("v{version}", "v{version}"),
    "mark.rolled-back": ("back to v{version}", "volta à v{version}"),
    "assumptions": ("What the estimate rests on", "Em que se baseia a estimativa"),
    # features
    "what.changed": ("What changed", "O que mudou"),
    "what.features": ("Features", "Atributos"),
    "what.scores": ("Predictions", "Previsões"),
    "what.lead": (
        "The most important change first. Choose a row to see its distribution.",
        "A mudança mais importante primeiro. Escolha uma linha para ver a distribuição.",
    ),
    "what.none": ("This window was not compared with a reference.", "Esta janela não foi comparada com uma referência."),
    "first": (
        "What changed first under this version is often the cause of the rest: {names}.",
        "O que mudou primeiro nesta versão é muitas vezes a causa do resto: {names}.",
    ),
    "first.changed": ("First changed", "Mudou primeiro em"),
    "first.changed.help": (
        "Start (UTC) of the first of this version's windows in which it changed.",
        "Início (UTC) da primeira janela desta versão em que mudou.",
    ),
    "distribution": ("Distribution of", "Distribuição de"),
    "feature": ("Feature", "Atributo"),
    "drifted": ("Changed", "Mudou"),
    "distance": ("Distance", "Distância"),
    "distance.help": (
        "Jensen-Shannon distance between window and reference, 0 to 1.",
        "Distância de Jensen-Shannon entre janela e referência, 0 a 1.",
    ),
    "tolerated": ("Tolerated", "Tolerada"),
    "tolerated.help": (
        "What chance reaches in a window of this size, or the least change that matters.",
        "O que o acaso alcança em uma janela deste tamanho, ou a menor mudança que importa.",
    ),
    "weight": ("Weight", "Peso"),
    "weight.help": ("Share of the model's importance.", "Parcela da importância do modelo."),
    "missing.share": ("Missing", "Ausentes"),
    "out.of.range": ("Out of range", "Fora da faixa"),
    "unseen": ("Unseen", "Nunca vistos"),
    "unseen.value": ("unseen", "nunca visto"),
    "share.of.rows": ("share of rows", "parcela das linhas"),
    "then.now": ("reference {then}, this window {now}", "referência {then}, esta janela {now}"),
    "reference.rows": ("reference", "referência"),
    "this.window": ("this window", "esta janela"),
    "bins.lead": (
        "Distance {distance}, tolerated {limit}; {test} p {p}; PSI {psi}",
        "Distância {distance}, tolerada {limit}; {test} p {p}; PSI {psi}",
    ),
    "faults": ("What is wrong with the data", "O que há de errado com os dados"),
    "faults.more": ("… and {count} more.", "… e mais {count}."),
    # timeline
    "timeline": ("What happened", "O que aconteceu"),
    "timeline.empty": ("Nothing has happened yet.", "Nada aconteceu ainda."),
    "timeline.derived": (
        "From the evaluations alone: alerts, no retrainings or promotions.",
        "Apenas das avaliações: alertas, sem retreinos nem promoções.",
    ),
    "timeline.all": ("Show all {count}", "Mostrar todos os {count}"),
    "event.alert": ("Alert", "Alerta"),
    "event.recovered": ("Alert over", "Fim do alerta"),
    "event.retraining-started": ("Retraining started", "Retreino iniciado"),
    "event.retraining-promoted": ("Retrained and promoted", "Retreinado e promovido"),
    "event.retraining-ready": ("Retrained, ready to be promoted", "Retreinado, pronto para promoção"),
    "event.retraining-refused": ("Retrained, refused by the gate", "Retreinado, recusado na avaliação"),
    "event.retraining-failed": ("Retraining failed", "Retreino falhou"),
    "event.retraining-skipped": ("Retraining skipped", "Retreino dispensado"),
    "event.rollback-check": ("Compared with its predecessor", "Comparado com o antecessor"),
    "event.registered": ("Registered", "Registrado"),
    "event.refused": ("Refused by the gate", "Recusado na avaliação"),
    "event.promoted": ("Promoted", "Promovido"),
    "event.forced": ("Promoted by force", "Promovido à força"),
    "event.rolled-back": ("Rolled back", "Revertido"),
}
