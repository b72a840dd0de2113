// From a network's description to a program: places in the row tile, fused
// activations, stages, packed parameters and tasks.
#pragma once

#include <vector>

#include "description.hpp"
#include "program.hpp"

namespace deltarule {

struct Compiled {
    std::vector<Instruction> instructions;
    std::vector<Stage> stages;                // of the rows phase
    std::vector<PackedParameter> parameters;  // in the plan's order
    std::vector<Task> tasks;
    std::vector<Lookup> lookups;      // of the embedding, if there is one
    std::vector<long> passed;         // input columns without codes
    long packed = 0, transposed = 0;  // elements
    long row_size = 0;                // elements of one row of a tile
    long statistics = 0;
    long output = -1;  // place of the network's output
    long output_columns = 0;
    double multiplications = 0;  // per row, forward
    double by_panels = 0;        // of them, those of layers that are cut by panels
    bool only_dense = true;      // no other parameters than those of dense layers
    bool cut = false;            // batch statistics: a step needs all its rows at once
    // Rows fill the lanes (columnar_products.hpp): rows of a tile and of a group of tiles, the place of a column of ones.
    bool columnar = false;
    long capacity = 0, group_rows = 0, ones = -1;
    long zeros = 0;      // in the packed parameters: zeros up to their end
    double applied = 0;  // numbers that pass an activation, per row
};

enum class Mode : int { train, evaluate, predict };

// panel: NR of the target; rows: of a batch, at most. Few rows have large layers cut by panels, and up to four
// let backward products read the weights themselves. batch_size: what the caller asked for, perhaps more than there are
// rows; a columnar program is chosen and cut by it, so that a batch has the same bits alone and as the last of many.
Compiled compile(const Description& network, Mode mode, int panel, long rows, long batch_size = 0);

// Places are per row until the capacity of a tile is known: from then on they are places in a tile.
void lay_out(Compiled& program, long capacity);

}  // namespace deltarule
