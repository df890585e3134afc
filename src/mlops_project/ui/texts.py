"""Every sentence of the pages, in English and Brazilian Portuguese."""

from collections.abc import Callable
from typing import Any

from mlops_project.ui.monitoring_texts import MONITORING_TEXTS

LANGUAGES = {"en": "English", "pt": "Português"}
Translate = Callable[..., str]

# key: (English, Brazilian Portuguese). Braces are filled in; what fills them is escaped by the caller where it is a visitor's.
TEXTS: dict[str, tuple[str, str]] = {
    # around every page
    "language": ("Language", "Idioma"),
    "model": ("Model", "Modelo"),
    "version": ("version {version}", "versão {version}"),
    "unnumbered": ("not registered", "não registrado"),
    "page.predict": ("Predict", "Prever"),
    "page.batch": ("Batch", "Lote"),
    "page.model": ("Model", "Modelo"),
    "page.operations": ("Operations", "Operações"),
    "from.server": (
        "Answers come from the model server and are logged.",
        "As respostas vêm do servidor de modelos e são registradas.",
    ),
    "from.bundle": (
        "Answers come from the model on this machine; nothing is logged.",
        "As respostas vêm do modelo nesta máquina; nada é registrado.",
    ),
    "server.down": (
        "The model server does not answer, so the model on this machine does. {reason}",
        "O servidor de modelos não responde; o modelo desta máquina responde no lugar dele. {reason}",
    ),
    "no.model": ("There is no model to show yet", "Ainda não há modelo para mostrar"),
    "no.model.cure": (
        "Train one, then reload this page:",
        "Treine um e recarregue esta página:",
    ),
    "bad.model": ("The model cannot be used", "O modelo não pode ser usado"),
    "bad.model.cure": (
        "This page looks again at every reload. To make a new one:",
        "Esta página verifica de novo a cada recarga. Para criar um novo:",
    ),
    "bad.config": ("The configuration is wrong", "A configuração está errada"),
    "no.bundle": (
        "This page needs the model's files, and only the server has this version. Start `mlops sync`, or set {variable}.",
        "Esta página precisa dos arquivos do modelo, e só o servidor os tem. Inicie `mlops sync` ou defina {variable}.",
    ),
    # predict
    "predict.lead": (
        "Enter a case and see what **{model}** says of **{target}**.",
        "Informe um caso e veja o que **{model}** diz de **{target}**.",
    ),
    "fill": ("Random plausible values", "Valores plausíveis aleatórios"),
    "fill.help": (
        "A real held-out case, so that the values go together.",
        "Um caso real separado do treino: os valores combinam entre si.",
    ),
    "fill.drawn": (
        "Drawn value by value: the model holds no reference rows.",
        "Sorteados um a um: o modelo não guarda linhas de referência.",
    ),
    "example": ("Example of", "Exemplo de"),
    "example.of": ("Example of a class …", "Exemplo de uma classe …"),
    "reset": ("Reset", "Redefinir"),
    "search": ("Find an input", "Buscar um campo"),
    "search.none": ("No input has this in its name.", "Nenhum campo tem isso no nome."),
    "search.count": (
        "{shown} of {all} inputs shown; the others keep their values.",
        "{shown} de {all} campos exibidos; os demais mantêm os valores.",
    ),
    "group": ("{first} … {last}", "{first} … {last}"),
    "predict": ("Predict", "Prever"),
    "missing": ("missing", "ausente"),
    "yes": ("yes", "sim"),
    "no": ("no", "não"),
    "range": ("training range {low} to {high}, median {middle}", "faixa do treino {low} a {high}, mediana {middle}"),
    "result": ("Prediction", "Previsão"),
    "result.none": ("Press **Predict** to see what the model says.", "Pressione **Prever** para ver o que o modelo diz."),
    "result.stale": (
        "The model has changed since; press **Predict** again.",
        "O modelo mudou desde então; pressione **Prever** de novo.",
    ),
    "answered.server": (
        "Model server, version {version}, {ms} ms, logged as `{id}`",
        "Servidor de modelos, versão {version}, {ms} ms, registrado como `{id}`",
    ),
    "answered.bundle": ("Model on this machine, {ms} ms, not logged", "Modelo nesta máquina, {ms} ms, não registrado"),
    "probability": ("probability", "probabilidade"),
    "probability.of": ("probability of {name}", "probabilidade de {name}"),
    "outside": (
        "Outside what training showed, so the answer is a guess there:",
        "Fora do que o treino mostrou; aí a resposta é um palpite:",
    ),
    "outside.number": ("{name}: {value} is not between {low} and {high}", "{name}: {value} não está entre {low} e {high}"),
    "outside.category": ("{name}: {value} was never seen", "{name}: {value} nunca foi visto"),
    "refused": ("The model cannot answer this. {reason}", "O modelo não pode responder a isto. {reason}"),
    "why": ("Why", "Por quê"),
    "why.lead": (
        "From the average answer for {rows} reference cases to this one. Blue raises it, orange lowers it; values in brackets.",
        "Da resposta média de {rows} casos de referência até esta. Azul aumenta, laranja diminui; valores entre parênteses.",
    ),
    "why.error": (
        "Shapley values from {walks} sampled walks; sampling error at most ±{error}; they add up exactly.",
        "Valores de Shapley de {walks} caminhos amostrados; erro amostral de no máximo ±{error}; a soma é exata.",
    ),
    "why.unknown": ("Why cannot be shown: {reason}", "Não é possível mostrar o porquê: {reason}"),
    "why.class": ("Explain", "Explicar"),
    "average": ("average", "média"),
    "this.case": ("this case", "este caso"),
    "others": ("{count} others", "{count} outros"),
    "whatif": ("What if", "E se"),
    "whatif.feature": ("Change only", "Mudar apenas"),
    "whatif.lead": (
        "All other values stay; the dashed line is this case.",
        "Os demais valores ficam; a linha tracejada é este caso.",
    ),
    "feedback": ("What was it really?", "Qual era o valor real?"),
    "feedback.lead": (
        "The true answer helps to watch how good the model is.",
        "A resposta verdadeira ajuda a acompanhar a qualidade do modelo.",
    ),
    "feedback.send": ("Send", "Enviar"),
    "feedback.done": ("Thank you, noted.", "Obrigado, registrado."),
    # batch
    "batch.lead": (
        "Score a whole table. It is checked first, and not logged.",
        "Avalie uma tabela inteira. Ela é verificada antes e não é registrada.",
    ),
    "batch.upload": ("CSV or Parquet, up to {size} MB", "CSV ou Parquet, até {size} MB"),
    "batch.columns": ("Which columns it needs", "De quais colunas precisa"),
    "batch.template": ("Download a template", "Baixar um modelo de planilha"),
    "batch.checking": ("Checking … {rows} rows", "Verificando … {rows} linhas"),
    "batch.scoring": ("Scoring … {rows} of {all} rows", "Avaliando … {rows} de {all} linhas"),
    "batch.unreadable": ("This file cannot be read: {reason}", "Este arquivo não pode ser lido: {reason}"),
    "batch.problems": (
        "{count} problems must be mended before it can be scored:",
        "{count} problemas precisam ser corrigidos antes da avaliação:",
    ),
    "batch.problem": (
        "1 problem must be mended before it can be scored:",
        "1 problema precisa ser corrigido antes da avaliação:",
    ),
    "batch.good": ("{rows} rows, nothing wrong.", "{rows} linhas, nada de errado."),
    "batch.extra": ("Kept, but not read by the model: {names}.", "Mantidas, mas não lidas pelo modelo: {names}."),
    "batch.outside": ("Rows with values that training did not show", "Linhas com valores que o treino não mostrou"),
    "batch.score": ("Score {rows} rows", "Avaliar {rows} linhas"),
    "batch.done": (
        "{rows} rows scored in {seconds} s ({speed} rows/s).",
        "{rows} linhas avaliadas em {seconds} s ({speed} linhas/s).",
    ),
    "batch.download": ("Download the result", "Baixar o resultado"),
    "batch.formulas": (
        "Texts that a spreadsheet would run as a formula have an apostrophe in front.",
        "Textos que uma planilha executaria como fórmula recebem um apóstrofo na frente.",
    ),
    "batch.preview": ("The first {rows} rows", "As primeiras {rows} linhas"),
    "batch.classes": ("Predicted classes", "Classes previstas"),
    "batch.sureness": ("Probability of the predicted class", "Probabilidade da classe prevista"),
    "batch.values": ("Predicted values", "Valores previstos"),
    "column": ("Column", "Coluna"),
    "rows": ("Rows", "Linhas"),
    "first.rows": ("First rows", "Primeiras linhas"),
    "problem": ("Problem", "Problema"),
    "all.rows": ("whole file", "arquivo todo"),
    # model
    "model.lead": ("{estimator} for **{target}**, trained {date}.", "{estimator} para **{target}**, treinado em {date}."),
    "tab.quality": ("Quality", "Qualidade"),
    "tab.features": ("Features", "Atributos"),
    "tab.data": ("Data", "Dados"),
    "tab.card": ("Card", "Ficha"),
    "tab.versions": ("Versions", "Versões"),
    "section": ("Section", "Seção"),
    "metrics": ("Metrics", "Métricas"),
    "metrics.lead": ("On {rows} held-out rows; lines are intervals.", "Em {rows} linhas separadas; as linhas são intervalos."),
    "metric": ("Metric", "Métrica"),
    "value": ("Value", "Valor"),
    "interval": ("Interval", "Intervalo"),
    "better": ("Better", "Melhor"),
    "higher": ("higher", "maior"),
    "lower": ("lower", "menor"),
    "plots.lead": (
        "From the {rows} reference rows in the model's files, predicted again here.",
        "Das {rows} linhas de referência nos arquivos do modelo, previstas de novo aqui.",
    ),
    "plots.none": (
        "The model's files hold no reference rows (privacy), so there are no interactive plots.",
        "Os arquivos do modelo não têm linhas de referência (privacidade); não há gráficos interativos.",
    ),
    "report": ("Download the full report", "Baixar o relatório completo"),
    "confusion": ("Confusion matrix", "Matriz de confusão"),
    "predicted": ("predicted", "previsto"),
    "actual": ("actual", "real"),
    "roc": ("ROC curve", "Curva ROC"),
    "roc.x": ("false alarms", "alarmes falsos"),
    "roc.y": ("found", "encontrados"),
    "pr": ("Precision and recall", "Precisão e revocação"),
    "pr.x": ("recall", "revocação"),
    "pr.y": ("precision", "precisão"),
    "guessing": ("guessing", "acaso"),
    "calibration": ("Calibration", "Calibração"),
    "calibration.x": ("probability said", "probabilidade dita"),
    "calibration.y": ("share that was so", "parcela que ocorreu"),
    "residuals": ("Errors", "Erros"),
    "residual": ("predicted - actual", "previsto - real"),
    "importance": ("Importance", "Importância"),
    "importance.lead": (
        "How much {metric} worsens when a column is shuffled ({rows} reference rows, {repeats} times; whiskers: 1 SD).",
        "Quanto {metric} piora ao embaralhar uma coluna ({rows} linhas de referência, {repeats} vezes; traços: 1 DP).",
    ),
    "importance.correlated": (
        "Columns that move together share their importance: {names}.",
        "Colunas que variam juntas dividem a importância: {names}.",
    ),
    "importance.none": (
        "Importance needs reference rows, and the model's files hold none.",
        "A importância precisa de linhas de referência, e os arquivos do modelo não têm.",
    ),
    "inputs.table": ("Inputs as training saw them", "Campos como o treino os viu"),
    "type": ("Type", "Tipo"),
    "may.be.missing": ("May be missing", "Pode faltar"),
    "seen": ("Seen in training", "Visto no treino"),
    "seen.values": ("{count} values: {values}", "{count} valores: {values}"),
    "seen.range": ("{low} to {high}, median {middle}", "{low} a {high}, mediana {middle}"),
    "field": ("Field", "Campo"),
    "train.rows": ("Training rows", "Linhas de treino"),
    "test.rows": ("Held-out rows", "Linhas separadas"),
    "source": ("Source", "Fonte"),
    "task": ("Task", "Tarefa"),
    "classes": ("Classes", "Classes"),
    "estimator": ("Estimator", "Estimador"),
    "created": ("Created (UTC)", "Criado (UTC)"),
    "commit": ("Commit", "Commit"),
    "digest.model": ("Model digest", "Resumo do modelo"),
    "digest.data": ("Data digest", "Resumo dos dados"),
    "digest.config": ("Configuration digest", "Resumo da configuração"),
    "libraries": ("Libraries", "Bibliotecas"),
    "configuration": ("Configuration", "Configuração"),
    "card.none": ("The model's files hold no card.", "Os arquivos do modelo não têm ficha."),
    "registry.down": ("The registry cannot be asked. {reason}", "O registro não pode ser consultado. {reason}"),
    "registry.empty": ("No version is registered yet.", "Nenhuma versão registrada ainda."),
    "versions": ("Registered versions", "Versões registradas"),
    "alias": ("Alias", "Apelido"),
    "number": ("Version", "Versão"),
    "gate": ("Gate", "Avaliação"),
    "against": ("Champion against challenger", "Campeão contra desafiante"),
    "against.none": ("There is no challenger besides the champion.", "Não há desafiante além do campeão."),
    "champion": ("champion", "campeão"),
    "challenger": ("challenger", "desafiante"),
    "difference": ("Difference", "Diferença"),
    "mlflow.run": ("Run in MLflow", "Execução no MLflow"),
    "mlflow.version": ("Version in MLflow", "Versão no MLflow"),
    # operations
    "operations.lead": ("What is served now, and how it came to be.", "O que é servido agora e como se chegou a isso."),
    "served.now": ("Served now", "Servido agora"),
    "served.none": (
        "No model server is configured. `mlops up` starts one; or set {variable}=http://127.0.0.1:8000.",
        "Nenhum servidor de modelos configurado. `mlops up` inicia um; ou defina {variable}=http://127.0.0.1:8000.",
    ),
    "since": ("Since (UTC)", "Desde (UTC)"),
    "role": ("Role", "Papel"),
    "requests": ("Requests", "Requisições"),
    "requests.help": ("Prediction requests since the server started.", "Requisições de previsão desde o início do servidor."),
    "predictions": ("Rows predicted", "Linhas previstas"),
    "errors": ("Errors", "Erros"),
    "errors.help": (
        "Share of requests answered with 5xx; 4xx are the callers' mistakes.",
        "Parcela de respostas 5xx; 4xx são erros de quem chama.",
    ),
    "refusals": ("Refused (4xx)", "Recusadas (4xx)"),
    "latency": ("Latency p95", "Latência p95"),
    "latency.help": (
        "95 of 100 prediction requests take at most this long.",
        "95 de 100 requisições de previsão levam no máximo isto.",
    ),
    "log.lost": ("Not logged", "Não registradas"),
    "reload.failed": (
        "The last attempt to load a new model failed; the old one keeps serving.",
        "A última tentativa de carregar um novo modelo falhou; o antigo continua servindo.",
    ),
    "refreshed": ("Refreshed every {seconds} s.", "Atualizado a cada {seconds} s."),
    "audit": ("Alias moves", "Movimentos de apelidos"),
    "audit.empty": ("No alias has moved yet.", "Nenhum apelido se moveu ainda."),
    "when": ("When (UTC)", "Quando (UTC)"),
    "move": ("Move", "Movimento"),
    "action": ("Action", "Ação"),
    "who": ("Who", "Quem"),
    "reason": ("Why", "Por quê"),
    "change": ("Promote or roll back", "Promover ou reverter"),
    "change.nokey": (
        "To change the champion here, start the application with an admin key: {variable}=admin:KEY.",
        "Para trocar o campeão aqui, inicie a aplicação com uma chave de administrador: {variable}=admin:CHAVE.",
    ),
    "change.other": (
        "Start the application with this model's own configuration to change its champion here.",
        "Inicie a aplicação com a configuração deste modelo para trocar o campeão aqui.",
    ),
    "key": ("Admin key", "Chave de administrador"),
    "key.wrong": ("This is no admin key.", "Esta não é uma chave de administrador."),
    "what": ("What to do", "O que fazer"),
    "promote": ("Promote", "Promover"),
    "rollback": ("Roll back", "Reverter"),
    "which": ("Version", "Versão"),
    "force": ("Skip the gate", "Pular a avaliação"),
    "force.help": (
        "Promote whatever the metrics say; the reason is recorded.",
        "Promover independentemente das métricas; o motivo é registrado.",
    ),
    "why.change": ("Reason", "Motivo"),
    "confirm.promote": (
        "Version {target} is to become the champion instead of {current}.",
        "A versão {target} se tornará o campeão no lugar de {current}.",
    ),
    "confirm.rollback": (
        "Version {target} is to become the champion again instead of {current}.",
        "A versão {target} voltará a ser o campeão no lugar de {current}.",
    ),
    "confirm": ("Yes, do it", "Sim, fazer"),
    "cancel": ("Cancel", "Cancelar"),
    "continue": ("Continue …", "Continuar …"),
    "done.promoted": ("Version {number} is the champion: {reason}", "A versão {number} é o campeão: {reason}"),
    "done.refused": ("Version {number} was not promoted: {reason}", "A versão {number} não foi promovida: {reason}"),
    "done.rolledback": ("Version {number} is the champion again.", "A versão {number} é o campeão de novo."),
    "failed": ("That did not work. {reason}", "Não funcionou. {reason}"),
    "no.target": ("There is no version to change to.", "Não há versão para a qual mudar."),
    # metrics' names
    "metric.accuracy": ("accuracy", "acurácia"),
    "metric.precision": ("precision", "precisão"),
    "metric.recall": ("recall", "revocação"),
    "metric.f1": ("F1", "F1"),
    "metric.roc_auc": ("ROC AUC", "AUC ROC"),
    "metric.pr_auc": ("PR AUC", "AUC PR"),
    "metric.log_loss": ("log loss", "perda logarítmica"),
    "metric.brier": ("Brier score", "escore de Brier"),
    "metric.calibration_error": ("calibration error", "erro de calibração"),
    "metric.mae": ("MAE", "MAE"),
    "metric.rmse": ("RMSE", "RMSE"),
    "metric.r2": ("R²", "R²"),
    **MONITORING_TEXTS,
}


def find_language(*wishes: str | None) -> str:
    """Return the first wish (a code such as ``pt-BR``) that there is a language for; English if there is none."""
    codes = [(wish or "").lower().partition("-")[0] for wish in wishes]
    return next((code for code in codes if code in LANGUAGES), "en")


def translator(language: str) -> Translate:
    """Return a function: key and fillings → text."""
    place = list(LANGUAGES).index(language)

    def translate(key: str, **values: Any) -> str:
        text = TEXTS[key][place]
        return text.format(**values) if values else text

    return translate


def name_metric(t: Translate, metric: str) -> str:
    """Return what people call a metric; its own name if nobody has named it."""
    key = f"metric.{metric}"
    return t(key) if key in TEXTS else metric
