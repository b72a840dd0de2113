// mlpack's feed-forward networks for regression, behind four functions that peers/mlpack.py calls. Matrices have an
// example in each column, which is a row in NumPy's order.
#define ARMA_DONT_USE_WRAPPER
#define ARMA_NO_DEBUG
#define MLPACK_USE_SYSTEM_STB
#include <memory>
#include <mlpack/core.hpp>
#include <mlpack/methods/ann/ann.hpp>

namespace {

using Matrix = arma::fmat;
using Network = mlpack::FFN<mlpack::MeanSquaredErrorType<Matrix>, mlpack::RandomInitialization, Matrix>;

struct Session {
    Matrix X, Y, start;
    std::unique_ptr<Network> network;
    bool adam;
    double rate;
    std::size_t batch;
    std::unique_ptr<ens::Adam> with_adam;
    std::unique_ptr<ens::StandardSGD> with_sgd;
};

// Keeps the loss of the last epoch, which the optimizer forgets.
struct LastLoss {
    double value = 0;
    template <class Optimizer, class Function, class Values>
    bool EndEpoch(Optimizer&, Function&, const Values&, std::size_t, double objective) {
        value = objective;
        return false;
    }
};

}  // namespace

extern "C" {

// widths: (layers,); X: (rows, inputs); Y: (rows, outputs); parameters: those of all layers, weights (n_out, n_in)
// stored by columns, then biases. Copies what it is given.
Session* mlpack_create(int layers, const long* widths, long rows, const float* X, const float* Y,
                       const float* parameters, long count, int adam, double rate, long batch) {
    auto* const s = new Session;
    s->X = Matrix(X, arma::uword(widths[0]), arma::uword(rows));
    s->Y = Matrix(Y, arma::uword(widths[layers - 1]), arma::uword(rows));
    s->start = Matrix(parameters, arma::uword(count), 1);
    s->adam = adam != 0;
    s->rate = rate;
    s->batch = std::size_t(batch);
    s->network = std::make_unique<Network>();
    for (int i = 1; i < layers; ++i) {
        s->network->Add<mlpack::LinearType<Matrix>>(std::size_t(widths[i]));
        if (i + 1 < layers) s->network->Add<mlpack::TanHType<Matrix>>();
    }
    s->network->Reset(std::size_t(widths[0]));
    return s;
}

void mlpack_reset(Session* s) {
    s->network->Parameters() = s->start;
    // Steps are counted in examples; a tolerance below zero never ends a run; the order is that of the rows.
    if (s->adam)
        s->with_adam = std::make_unique<ens::Adam>(s->rate, s->batch, 0.9, 0.999, 1e-8, 1, -1.0, false, true);
    else
        s->with_sgd = std::make_unique<ens::StandardSGD>(s->rate, s->batch, 1, -1.0, false);
}

// Returns the last epoch's losses of batches, each a mean over its elements, summed and divided by the examples.
double mlpack_train(Session* s, long epochs) {
    const auto run = [&](auto& optimizer) {
        optimizer.MaxIterations() = std::size_t(epochs) * s->X.n_cols;
        LastLoss loss;
        s->network->Train(s->X, s->Y, optimizer, loss);
        optimizer.ResetPolicy() = false;  // the state of the optimizer stays for the next call
        return loss.value;
    };
    return s->adam ? run(*s->with_adam) : run(*s->with_sgd);
}

void mlpack_destroy(Session* s) { delete s; }
}
