"""A model's pipeline as three services of one bento: postprocess asks preprocess, which asks model, and the answer
comes back the same way.

    bentoml serve serving.chain.model:ModelStage                  as many replicas as it takes
    bentoml serve serving.chain.preprocess:PreprocessStage
    bentoml serve serving.chain.postprocess:PostprocessStage      POST /finalize, where people come in
"""
