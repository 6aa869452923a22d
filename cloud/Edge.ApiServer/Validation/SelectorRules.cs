using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>The rules of metav1.LabelSelector and core/v1 NodeSelector.</summary>
internal static class SelectorRules
{
    public static void CheckLabels(JsonObject selector, string at, List<FieldError> errors)
    {
        if (selector["matchLabels"] is JsonObject labels)
            Names.Labels(labels, $"{at}.matchLabels", errors);
        var i = 0;
        foreach (var expression in selector.Items("matchExpressions"))
        {
            var itemAt = $"{at}.matchExpressions[{i++}]";
            switch (expression.Text("operator"))
            {
                case "In" or "NotIn":
                    if (!expression.Texts("values").Any())
                        errors.Add(Errors.Required($"{itemAt}.values", "must be specified when `operator` is 'In' or 'NotIn'"));
                    break;
                case "Exists" or "DoesNotExist":
                    if (expression.Texts("values").Any())
                        errors.Add(Errors.Forbidden($"{itemAt}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
                    break;
                default:
                    errors.Add(Errors.Invalid($"{itemAt}.operator", expression.Text("operator"), "not a valid selector operator"));
                    break;
            }

            CheckKey(expression, itemAt, errors);
        }
    }

    public static void CheckNodes(JsonNode selector, string at, List<FieldError> errors)
    {
        if (!selector.Items("nodeSelectorTerms").Any())
            errors.Add(Errors.Required($"{at}.nodeSelectorTerms", "must have at least one node selector term"));
        var i = 0;
        foreach (var term in selector.Items("nodeSelectorTerms"))
        {
            var termAt = $"{at}.nodeSelectorTerms[{i++}]";
            var j = 0;
            foreach (var expression in term.Items("matchExpressions"))
                CheckNodeExpression(expression, $"{termAt}.matchExpressions[{j++}]", errors);
            var k = 0;
            foreach (var field in term.Items("matchFields"))
                CheckField(field, $"{termAt}.matchFields[{k++}]", errors);
        }
    }

    private static void CheckNodeExpression(JsonObject expression, string at, List<FieldError> errors)
    {
        var count = expression.Texts("values").Count();
        switch (expression.Text("operator"))
        {
            case "In" or "NotIn":
                if (count == 0)
                    errors.Add(Errors.Required($"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'"));
                break;
            case "Exists" or "DoesNotExist":
                if (count > 0)
                    errors.Add(Errors.Forbidden($"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
                break;
            case "Gt" or "Lt":
                if (count != 1)
                    errors.Add(Errors.Required($"{at}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'"));
                break;
            default:
                errors.Add(Errors.Invalid($"{at}.operator", expression.Text("operator"), "not a valid selector operator"));
                break;
        }

        CheckKey(expression, at, errors);
    }

    private static void CheckField(JsonObject field, string at, List<FieldError> errors)
    {
        if (field.Text("operator") is not ("In" or "NotIn"))
            errors.Add(Errors.Invalid($"{at}.operator", field.Text("operator"), "not a valid selector operator"));
        else if (field.Texts("values").Count() != 1)
            errors.Add(Errors.Required($"{at}.values", "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"));
        if (field.Text("key") != "metadata.name")
            errors.Add(Errors.Invalid($"{at}.key", field.Text("key"), "not a valid field selector key"));
    }

    private static void CheckKey(JsonObject expression, string at, List<FieldError> errors)
    {
        if (Names.Qualified(expression.Text("key")) is { } fault)
            errors.Add(Errors.Invalid($"{at}.key", expression.Text("key"), fault));
    }
}
