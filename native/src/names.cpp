#include "names.hpp"

#include <cstring>
#include <stdexcept>

namespace deltarule {

namespace {

template <class Kind, class Traits, size_t count>
Kind find(const Traits (&table)[count], const char* family, const std::string& name) {
    for (size_t i = 0; i < count; ++i)
        if (name == table[i].name) return Kind(i);
    throw std::invalid_argument("the native core knows no " + std::string(family) + " named '" + name + "'");
}

}  // namespace

Activation activation_named(const std::string& name) {
    return find<Activation>(activation_traits, "activation", name);
}
Loss loss_named(const std::string& name) { return find<Loss>(loss_traits, "loss", name); }
Rule rule_named(const std::string& name) { return find<Rule>(rule_traits, "update rule", name); }
Kind operation_named(const std::string& name) { return find<Kind>(operation_traits, "operation", name); }

std::vector<std::string> names_in(const char* list) {
    std::vector<std::string> names;
    for (const char* from = list; *from != 0;) {
        const size_t length = std::strcspn(from, ", ");
        if (length > 0) names.emplace_back(from, length);
        from += length;
        from += std::strspn(from, ", ");
    }
    return names;
}

}  // namespace deltarule
