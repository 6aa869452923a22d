using System.Text.Json.Nodes;

namespace Edge.ApiServer.Patching;

/// <summary>The body of a PATCH, as a change of an object's tree.</summary>
/// <param name="Apply">Gets the tree, which it may change, and gives the wanted one; may run again on another.</param>
/// <param name="Merge">The JSON of the merge patch that this is, as it came; null for every other kind.</param>
internal sealed record ObjectPatch(Func<JsonObject, JsonObject> Apply, ReadOnlyMemory<byte>? Merge = null);
