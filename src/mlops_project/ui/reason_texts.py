"""The monitor's reasons in Brazilian Portuguese: kind → words, with the fields of ``monitoring.reasons.ENGLISH``."""

_DRIFTED = "{drifted} de {features} atributos mudaram, {share:percent} da importância,"
_VALUE = "{metric:metric} {value:figure} [{low:figure}; {high:figure}] em {rows:count} linhas"
_AGAINST = "; {reference:figure} nas linhas separadas, {tolerance:figure} de perda tolerada:"
PORTUGUESE: dict[str, str] = {
    "said": "{text}",
    "more": "{items:list} e mais {count}",
    "more-clauses": "{items:clauses} e mais {count}",
    # drift
    "features-drifted": f"{_DRIFTED} acima dos {{limit:percent}} que importam: {{named:list}}",
    "few-features-drifted": f"{_DRIFTED} abaixo dos {{limit:percent}} que importam: {{named:list}}",
    "feature-drifted": "{name} (Jensen–Shannon {distance:two}, acaso {threshold:two})",
    "rows-told-apart": (
        "juntos, os atributos denunciam a janela: AUC {auc:two}, o acaso chega a {threshold:two}; sobretudo {names}"
    ),
    "predictions-drifted": "as previsões mudaram: {named:list}",
    "nothing-drifted": "nenhuma mudança além do acaso em {features} atributos",
    "no-profile": "esta versão foi treinada sem perfil de referência, mudanças não podem ser vistas; treine de novo para tê-lo",
    "scores-moved": "as pontuações mudaram: {named:list}",
    "score-moved": "{name} ({distance:three}, tolerado {threshold:three})",
    # faults of the data
    "faulty": "{name}: {faults:list}",
    "missing": "{now:tenth} ausentes (referência: {before:tenth})",
    "unknown-values": "{now:tenth} com valores que o modelo não conhece (referência: {before:tenth})",
    "out-of-range": "{now:tenth} fora do intervalo de treino {low:six} … {high:six} (referência: {before:tenth})",
    "constant": "sempre {value}",
    "constant-number": "sempre {value:six}",
    "constant-unknown": "sempre um mesmo valor desconhecido",
    # performance
    "live-lost": f"{_VALUE} rotuladas{_AGAINST} perdido",
    "live-kept": f"{_VALUE} rotuladas{_AGAINST} mantido",
    "estimated-lost": f"{_VALUE}, estimado sem rótulos{_AGAINST} perdido",
    "estimated-kept": f"{_VALUE}, estimado sem rótulos{_AGAINST} mantido",
    "live-undefined": "estes rótulos, ou os das linhas separadas, não definem {metric:metric}",
    "live-nothing": "{rows:count} linhas rotuladas, e nenhuma métrica que elas e as linhas separadas definam",
    "live-few": "{rows:count} linhas rotuladas; métricas com rótulos precisam de {needed:count} (monitoring.min_labels)",
    "estimate-undefined": "{metric:metric} não pode ser estimado sem rótulos",
    "estimate-uncalibrated": (
        "nada estimado: o modelo não traz calibração nem modelo de erro de suas {rows:count} linhas separadas; separe mais "
        "linhas e treine de novo"
    ),
    "estimate-nothing": "nada estimado: nenhuma métrica que a janela e as linhas separadas definam",
    "estimate-few": "nada estimado: {rows:count} linhas, são necessárias {needed:count}",
    # what an estimate rests on
    "no-concept-drift": "O que leva das entradas ao alvo não mudou (não há mudança de conceito); só rótulos podem mostrá-lo.",
    "error-follows": (
        "O modelo do tamanho do erro (explica {skill:percent} da variância nas linhas separadas) continua verdadeiro."
    ),
    "error-constant": (
        "O tamanho do erro não depende das entradas: a estimativa é o erro nas linhas separadas, venha o que vier."
    ),
    "rows-alike": "Linhas novas se parecem com algumas das separadas: árvores não extrapolam.",
    "calibrated": (
        "As probabilidades, calibradas em {rows:count} linhas separadas, significam o mesmo para linhas novas: das que "
        "recebem 0,8, 80% estão certas."
    ),
    "calibrated-checked": (
        "As probabilidades, calibradas em {rows:count} linhas separadas, nas quais {metric:metric} é estimado em "
        "{estimated:figure} e medido em {measured:figure}, significam o mesmo para linhas novas: das que recebem 0,8, "
        "80% estão certas."
    ),
    "rows-covered": "As linhas vêm do intervalo que as linhas separadas cobrem.",
    "rows-covered-classes": (
        "As linhas vêm do intervalo que as linhas separadas cobrem. Cada classe é calibrada contra as demais."
    ),
}
