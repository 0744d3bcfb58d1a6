"""Building blocks of methods, by the taxonomy of "A Survey on Deep Text Hashing".

    documents                 bags                words that occur, as sparse rows
    encoders                  encoders            linear and MLP, over sparse rows
                              projections         linear, over words, vectors of features, or both
                              sequences           convolutions over words in their order
                              k_max               wide convolutions over words with k-max pooling
                              word_vectors        vectors of words by their co-occurrence, in closed form
                              enrichment          concepts and company of the words of short texts
                              stacked             an autoencoder of dense values, learned layer by layer
                              boltzmann           machines that are stacked into an encoder
                              dense               MLP over the vector of a sentence encoder, Gaussian decoder to it
                              tokens              convolutions over vectors of word pieces
    views of a document       experts             a gated product of the posteriors of two views
    Rec                       decoders            softmax over words, topic matrix
                              sequences           a distribution over words at each position of a text
                              reconstruction      likelihood of the words of a document
    Prior(G), (B), (C)        priors              divergence from a Gaussian, Bernoulli, categorical prior
    Prior(M)                  mixtures            from mixtures of Gaussians or of Bernoulli codes
    Prior(BM)                 correlated_bits     a posterior of correlated bits, after Boltzmann machines
    Prior(G), Pse             prototypes          a hierarchy of prototypes, and the contrast of pseudo-labels
    Pse, of neighbours        neighbours          one drawn by rank, weight or agreement, the union of the words
                              walks               on a neighbour graph, and a decoder of the documents they visit
    Prior(GA)                 trees               Gaussians correlated along spanning trees of a neighbour graph
    priors of all documents   matching            MMD, Sinkhorn divergence, moments
                              transport           Wasserstein distances by assignment, sliced, component-wise
                              importance          of words, in encoder and decoder
                              ranking             hinge of triples
                              distillation        the order of a teacher's similarities, kept by scores of codes
                              few_words           of a document that are left, as in a query or a title
    MMI                       mutual_information  exact entropies of codes that are Markov chains
                              code_entropy      a bound on the entropy of all codes by few earlier bits for each bit
                              jensen_shannon      an estimate by a discriminator of pairs of one document and of two
    SFC                       categories          labels predicted from codes
    SFR                       code_similarity     inner products of the codes of pairs
                              passages            the passage that answers a question before the others
                              pairwise            losses of pairs of documents that share labels or do not
                              label_groups        groups of a tree of labels
                              class_centres       centres of classes, and the documents that are hard to tell apart
                              label_similarity    of documents that share labels
    CB                        balance             balance and decorrelation, also over a memory of all documents
    FE                        few_bit             orthogonal topics, relevance propagation
    Index                     index_cost          false candidates and costly neighbours of a multi-index search
    Quan                      quantization        a loss, tanh of a growing scale; sgn is an estimator
    Gradient                  estimators          reparameterised, straight-through, relaxed and unbiased samples
    Robustness                robustness          masked words
    spectral relaxation       spectral            principal components, eigenmaps, eigenfunctions of a box
    regression                ridge               from sparse rows, by conjugate gradients
    training                  schedules           weights and temperatures by the share of training done
                              workers             gathered codes and averaged gradients of several processes
    thresholds                binarizers          zero, one half, median of the training documents
    tuning                    spaces              types of search spaces

A block depends on no method or corpus. Its docstring states equation, symbols, shapes and source, and its test
compares it with a closed form, an integral or the sum over all codes.
"""
