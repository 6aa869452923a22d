namespace Edge.Testing;

/// <summary>Says of a test that it runs the stock kubectl, and what of a verb it shows; docs/kubectl.md is made of these.</summary>
/// <param name="verb">As in <c>kubectl --help</c>.</param>
/// <param name="works">What of it works, in a few words for the page.</param>
[AttributeUsage(AttributeTargets.Method, AllowMultiple = true)]
public sealed class KubectlVerbAttribute(string verb, string works) : Attribute
{
    public string Verb { get; } = verb;

    public string Works { get; } = works;
}
