"""What methods are put together from, in the words of "A Survey on Deep Text Hashing".

    what a document is        bags                words that occur, as sparse rows
    encoders                  encoders            linear and MLP, over sparse rows
                              sequences           convolutions over words in their order
                              boltzmann           machines that are stacked into an encoder
    Rec                       decoders            softmax over words, topic matrix
                              sequences           a distribution over words at each place of a text
                              reconstruction      likelihood of the words of a document
    Prior(G), (B), (C)        priors              divergence from a Gaussian, Bernoulli, categorical prior
    Prior(M)                  mixtures            from mixtures of Gaussians or of Bernoulli codes
    Prior(BM)                 correlated_bits     a posterior of correlated bits, after Boltzmann machines
    Prior(G), Pse             prototypes          a hierarchy of prototypes, and the contrast of pseudo-labels
    priors of all documents   matching            MMD, Sinkhorn divergence, moments
                              transport           Wasserstein distances by assignment, sliced, component-wise
    MMI                       mutual_information  exact entropies of codes that are Markov chains
    SFC                       categories          labels told from codes
    CB                        balance             balance and decorrelation, with a memory of all documents too
    FE                        few_bit             topics kept apart, relevance handed down
    Quan                      quantization        a loss, tanh of a growing scale; sgn is an estimator
    Gradient                  estimators          reparameterised, straight-through, relaxed and unbiased samples
    Robustness                robustness          masked words, noise, adversarial steps
    spectral relaxation       spectral            principal components, eigenmaps, eigenfunctions of a box
    training                  schedules           weights and temperatures by the share of training done
    the cut                   binarizers          zero, one half, median of the training documents
    tuning                    spaces              the words of a search space

A part knows no method, no corpus and no worker. It says its equation, symbols, shapes and source, and is tested against
a closed form, an integral or the sum over all codes.
"""
